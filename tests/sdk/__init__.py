"""Programs that do a whole life of a key with a vendor's own SDK, unchanged, at the address of our simulator.

Each is run by itself with the Python of `.vendors`, where the SDKs are: it imports nothing of keyturn's.

    .vendors/bin/python tests/sdk/openrouter.py URL      # the management credential in $ADMIN

It prints what the SDK gave back as one JSON object, for keyturn.tests to compare.
"""
