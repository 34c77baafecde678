"""What people wire by hand around LiteLLM, checked: its configuration, compose files, Kubernetes manifests, .env files.

Nothing here prints, keeps or hashes the text of a value: a finding has a rule, a place, and words of ours.
"""
