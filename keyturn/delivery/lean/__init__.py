"""A second, lean reader for the plainest start: `keyturn exec --proxy NAME -- PROGRAM` over Vault or AWS.

Why a second one: the first imports pydantic, asyncio and the vendors' SDKs, which takes several times as long as all the
rest, at every start of every container. This one imports none of them.

Why it is safe: it decides nothing. It goes on only while everything is plain: a keyturn.yaml that the first reader would
take, of kinds and settings that it knows itself, and answers with status 200 that are whole. Then it gives what the first
gives (tests/delivery/lean/ holds the two against each other). On any doubt, refusal or failure it leaves no trace and the
first reader begins anew: that one waits, logs in again, and words every error. No error of this one is ever shown.
"""
