"""Reads what a photo's file says about it: when, where and with which camera it was taken.

``blocks`` finds EXIF, XMP and IPTC in a file of any format; ``exif``, ``xmp`` and ``iptc`` read a block each, and
``reader`` puts together what they know. No value is trusted: any program may have written it.
"""
