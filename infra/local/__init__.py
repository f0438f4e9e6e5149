"""A bucket on this machine that tells of its changes, disorderly as a global store does.

moto answers the S3 calls; around it a hub gives every change its place in the order of events and posts them
in the background, in the format of Tigris. ``python -m infra.local --help`` lists what can be made to go
wrong.
"""
