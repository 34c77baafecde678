"""How keyturn is put to work: deployments, images, manifests, policies."""
