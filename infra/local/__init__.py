"""A local S3 bucket that posts notifications of its changes, out of order as a global store does.

moto answers the S3 calls; around it a hub gives every change its place in the order of events and posts the events in
the background, in the format of Tigris. ``python -m infra.local --help`` lists the faults and the disorder that it can
cause.
"""
