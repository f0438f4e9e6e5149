"""EXIF as a camera writes it into its photos."""

from __future__ import annotations

from dataclasses import dataclass

import pyvips


@dataclass(frozen=True, slots=True)
class Camera:
    """The EXIF fields of one photo."""

    captured_at: str
    """ISO 8601 in local time, without an offset."""
    offset: str = "+02:00"
    """From UTC; empty where the camera does not know it."""
    make: str = "Nomad Optics"
    model: str = "Ger 1"
    lens: str = "Felt 28mm f/2"

    def describe(self) -> dict[str, str]:
        """The camera as ``metadata.json`` has to show it."""
        return {"make": self.make, "model": self.model, "lens": self.lens}

    def stamp(self, image: pyvips.Image) -> pyvips.Image:
        """The image with this EXIF, and with a position, which no result may carry."""
        fields = {
            "exif-ifd0-Make": self.make,
            "exif-ifd0-Model": self.model,
            "exif-ifd2-LensModel": self.lens,
            "exif-ifd2-DateTimeOriginal": self.captured_at.replace("-", ":").replace("T", " "),
            "exif-ifd3-GPSLatitude": "47/1 55/1 12/1",
            "exif-ifd3-GPSLatitudeRef": "N",
            "exif-ifd3-GPSLongitude": "106/1 55/1 2/1",
            "exif-ifd3-GPSLongitudeRef": "E",
        }
        if self.offset:
            fields["exif-ifd2-OffsetTimeOriginal"] = self.offset
        stamped = image.copy()
        for name, value in fields.items():
            stamped.set_type(pyvips.GValue.gstr_type, name, value)
        return stamped
