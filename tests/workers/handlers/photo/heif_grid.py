"""HEIC photos as phones write them: a grid of HEVC tiles. Made from one tile, as no encoder for HEVC is at hand."""

from __future__ import annotations

import struct
from base64 import b64decode

SIDE = 256
"""Pixels of ``TILE``."""

_FTYP = b"heic" + bytes(4) + b"mif1heic"


def grid(tile: bytes, columns: int, rows: int, side: int, *, turns: int = 0) -> bytes:
    """A photo of ``columns`` × ``rows`` items that all have the tile's data, each decoded for itself.

    ``tile`` is a HEIC of one HEVC image of ``side`` pixels; ``turns`` are quarter turns against the clock (``irot``).
    """
    data = _content(tile, b"mdat")
    count, primary = columns * rows, columns * rows + 1
    layout = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, columns * side, rows * side)
    properties = [
        _box(b"hvcC", _content(tile, b"hvcC")),
        _size(side, side),
        _size(columns * side, rows * side),
        _box(b"irot", bytes([turns])),
    ]
    parts = [
        _full(b"hdlr", bytes(4) + b"pict" + bytes(13)),
        _full(b"pitm", struct.pack(">H", primary)),
        _full(b"iinf", struct.pack(">H", count + 1) + b"".join(_entry(n, primary) for n in range(1, primary + 1))),
        _full(b"iref", _box(b"dimg", struct.pack(f">HH{count}H", primary, count, *range(1, primary)))),
        _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full(b"ipma", _associations(count))),
        _box(b"idat", layout),
    ]
    ftyp = _box(b"ftyp", _FTYP)
    places = _full(b"iloc", _locations(count, 0, len(data), len(layout)), version=1)
    begin = len(ftyp) + len(_full(b"meta", b"".join(parts) + places)) + 8
    places = _full(b"iloc", _locations(count, begin, len(data), len(layout)), version=1)
    return ftyp + _full(b"meta", b"".join(parts) + places) + _box(b"mdat", data)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _full(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + content)


def _content(tile: bytes, kind: bytes) -> bytes:
    at = tile.index(kind)
    return tile[at + 4 : at - 4 + int.from_bytes(tile[at - 4 : at], "big")]


def _size(width: int, height: int) -> bytes:
    return _full(b"ispe", struct.pack(">II", width, height))


def _entry(item: int, primary: int) -> bytes:
    """A tile is hidden: it is no image of its own."""
    kind, flags = (b"grid", 0) if item == primary else (b"hvc1", 1)
    return _full(b"infe", struct.pack(">HH", item, 0) + kind + b"\0", version=2, flags=flags)


def _associations(tiles: int) -> bytes:
    of_tiles = b"".join(struct.pack(">HBBB", item, 2, 0x81, 2) for item in range(1, tiles + 1))
    return struct.pack(">I", tiles + 1) + of_tiles + struct.pack(">HBBB", tiles + 1, 2, 3, 0x84)


def _locations(tiles: int, begin: int, length: int, layout: int) -> bytes:
    """Every tile at the same place in the file, and the grid's layout in ``idat``."""
    head = struct.pack(">BBH", 0x44, 0, tiles + 1)
    of_tiles = b"".join(struct.pack(">HHHHII", item, 0, 0, 1, begin, length) for item in range(1, tiles + 1))
    return head + of_tiles + struct.pack(">HHHHII", tiles + 1, 1, 0, 1, 0, layout)


TILE = b64decode("""
    AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVdtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA
    AERAAAEAAQAAAAABewABAAAAAAAAGYsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA12lwcnAAAAC4
    aXBjbwAAAHlodmNDAQNwAAAAkAAAAAAAPPAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAPLoCQGEAAQAsQgEBA3AAAAMAkAAAAwAA
    AwA8oAgIBAWW6kkpLm4CGgwIAAADAMgAAAMACEBiAAEAB0QBwXKwYkAAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAABAAAAAQAAAAAQ
    cGl4aQAAAAADCAgIAAAAF2lwbWEAAAAAAAAAAQABBIECAwQAABmTbWRhdAAAGYcoAaxMgvPOUc1wQE6rdLSK3AVqOIFeyK0Q4SrLu5LxU9NxQQkS
    OKouIGLWpOqMoc456BT/ES33TAvaUxonQ1YsxJe3TUgikhtxyOxAMaWVq2ja3VvwWlsPUpEjXXlEq6nrOU4MafiwqtY+/W6o41f802kRDCBFAlYp
    C7N44wktYB+Fr/HDW/MeW2T5rotnERBUJ2oE9ctN+XUoYSf3yqjDbFrq7i+jSwU25o3A9y+IAAtuysHA7YCVfkV2Uh6yABLG3yl38emdNrvmEs+P
    gTBdeJf1Zi85fjO57Vywy04pGvnkd74Tc9YdrB3Ez2LVympBmm+heemYBn1iH43nLE6LkOAxnFCXXGRST4cuWOtCdmVgOAoclNLvJP2o1Hupn9Bm
    inu6tvnkbjdmg4VVx0LnYvJDzRo2CavWJ1iVnH9IqJXvX+IKPX6MhpmaObW0/IZUMssLHc5o7EgEohaIjnxTbiq9cyVGfcWxsE2myOBlS7CUVeir
    wR+XCkr1AgojM8ZIwgdLZM9LWBs2Cq/W/wIhtjrEGXQAGU1tCfXy/pPVyIcJHxmzce1rtWZV7qofNo/j4pnrEfxVYGxfJvV8feVnGftkSUb5eWEr
    S2h4o2KamDnN2xrOnDCDpeZxaHUwc3JNX6PF82ELjTugavZ1qUviNHvcO+msNEqXtU2zBSvNPDgCiAjNJ/VfGS2/6TvqL65qPxEFdsRnwGaq/4T9
    OH/pqza5MVat2Hh37dACK+cUtdNXYZSNwuPzxdCW8CuvNfa3MOigMYmaEygdra3qEJ6SfGxkROWdfbGWZ02XV+LHniJoPdQI4n2o5R7AdNR7QHg4
    lMxQ0KIm9m37J0Ukq+76WzqsaKuxnm2IC9QCF9w0YYs9/0hPumi8vj3v0A1T4iNIDnNA0+S3/6Dt8hUFbMtvJoSzvs40+2yShs4TiHJlLp7qbfZr
    qobJ63o4Qo8/Rg0C3DoBF3vx1gTjZLYd2ezFlr+41OxZJtYVJ4DSIynf1uv2+1eFVsP+mlJvZ0kiqLleedODbZ2vkO/fDXsumrX4hhY2bv1lk2BZ
    pRNrfeHe86cRmX3JsQH1qa4KaUznOFRhO94EXLIgNY2NUUGpD6hNzvAFGCWrXL/lXzI/Y5aT0A1ODZu8b3XgL+v1+EwKCfM/1AWi71+T6SFjBQ6A
    XyJiz5LQxKOsShZphfhJ8mmiRT6T2fkUyfANnmxrlA04s1xt8tp6JV/sCo0jEdKHCYZr6oIvfL7vfr7j/uSeCYAboVKheyzRjassyRGJbiXvqYRJ
    7+xfRfV9XMapRb8PkwffWsa7OPsMLAFz/JMJPztHR5HWpI2huiuXUZnUT0VYbGzDJACAA2OGik0kDGngA+9yKGYGJMYTmK+jTIo0T7OmbbL/3q7/
    WcidY2UmlhOpaerQgeLAC7ACzlQ7Tntd3bLCkqCq7+3f2BKGeWDRLqPOxOPz8GBHcYM9YhElx0fqTAiLtemhO7djGefct4oz/1NWYWIBg1fZDqDb
    gDBDO0OscUwXTTJX8PwYTf8NiN10uCFYa3rtcNOsV7e8dHzDXea2TKjLDam75eZsvm3s5N6m8Kx2Cfk2PbrQe8IPchnM4LJvO1/PAUROuYIWkMp1
    BmW4XsdEAUlO+ZKg2C7HLAceMNEIX2roifSg5kan8L36C6DeoheAHtB984p1sAvW5+dqi4EIvuqiSnJ1mzIx/XGZfpj9QbaNSbQyzTBfJ8YbPkPJ
    A1GjOi8i1ZdzXJ0ivwPgZn7Fh6gzdMdcmNhrXBpsszD5OqCdGJU6HHMs56zQHhgKE+UcOgUGNeTLY8MmqQc0KyCjocQyvNr/9NPKTphpcCDVsPKz
    0fQ3hGo111Ti2OhaWGkR07UMrB8ApqvEm85ydNnvzt45P0YpB2M1RZ5CppnAkdWritZBRJqqfKBLqGF101Hl5g6km75kZN38eGlM+geE55xZ1r7k
    tkogmUqXDnLFAC3DkK9hQMRY4KXMUeqriN2xOpQ0sDlZrYCtV0QPQqKB31QGIeKXm+vH0+/Lj6MkbEP1lNhceb8fXPbEhwJyhbV9CIdn+pIdhlhj
    uzpoS+tP1GYU+78Bvl1hZgbdR+xNPI6uZmtmDf051D8nAMKio4gbQYNzu8U+XzK3xlwmExf1Tsz7bEemrhVEy/uTmj8ZuhYmlJO9URrYegEmBePo
    hvbYFg2JRdw73FiTOioznt+LZAl3wFpJ6P5/gdFSl+VN24CTCGlEsJggxY08OKq58txxxGTQWuWLtL0HlLplv6WQ4CYfsCcHiRb+VdFogcaDPkNL
    HMB8su67OkCsm5ESfypv0uX7SFtZsVQRkSTd7UysLpIIXn4T7i3463RI8xr7seASs+BtKC+juxdTedseT7zbHwkP9a9RaKnxjtL+aLQtwbmm3j94
    eBXT6fDMun09wgSfPTClh8Ua6jBZluftu+BFpDNjsvfuO8f+xVg+zhkQIAaUqwYYZQg3Wa0rZ8wMIFIVk3OR0iLXds6qW7qgc39c1MU1PshLseEA
    IC5WX5TbWqAlV3LLVBLarKRvyRhpKWn1/Wo6hkZVbOQhCRQ+EkYGag+SZJ34YC+76bbBMPlp0G0FkL02oRpfkgrN3QfWm3sXDuVrjZhJ3uPDqNR2
    o7I+qX2jMiZGAPT7FWNvHJdCVOS2T9SReNZtNXSzb6zhxTZzut3CmNL/GjZfXfTj0Yzt/43KmBk6/F03gsJBvjmmeq3Rbifygzfq303o/Mav6F1y
    OHgxs9YYorpvEU5AenCt6SdBY0TED6AcPtIHGRn/PeXijKwuYgNUiI4jp+4MRhalTUxVjmjUpe8eFdCiL1iMjaR7LJa6DERYTxPLRPypjbvmoz6A
    cTWXKk+xcRIIsIqjExNzdiCezCdwaKeJ9r9HtpCiTg4dC0e86db5qUvF3WwgX5BYA5y5DWn8JfW2DicbOSWMPCz4m7jB7OIZSLAvVYRE6vpPC7Ml
    ZOnQlCyxP6H1hJnakonoRUe6gL+6dwao8pCLV+JGgXBFgJpUP3rAKvMLPYYoVA214vujYhpf6FOZ4IEmm71heualRJHspMPt3j31vwMRX2Si7Rqv
    jC9xd4vJuomkLG+AcBHbBgDmZIFB8LBqdOemGr9lyWipBjhg5Fu7bdSW4mhnXFmCVttns1IrJSFmtXcFyOqS5enekRVGFyS+xxhQ7rsVt30EAHSC
    B6ofdh4kt9QZnJnR6BqEjF0+SR2MmJ98ou78lclqtmFo7nY762oND052KuAQSkgF8ShdbVRO5gDwnKBMuT7TqqHBNTdvISA9atTSlTbtiuYxqduO
    JQ48Xh3r1nwDxSXW6xdhDL4zmgfXGXVn0qu6mbfFY1eZAVvTDUd0UCD7GskjvzYpGZhlyg/q+jZaL8cvJPgoxXrmRyj53JyKycIXRK+Obsh+iq+z
    9gZ9Ky8pLyWHKrHtzAvYEfTXqq/5wrJD6dNM0knG6eXYnns/w+WSBrjd8TVKDI03twIVgaA5VDG2z5rfy8kbSwmfdsNq5XbPvzs6iQEQ20AJUgQX
    1Jlu1ehDWl1xl3ZZztQ7ee2N5K9jbHeiClrTAHErKxhC6SDGmyAAfINMWLZWFtPkmNbaC83w8sF/BhlgmyIgdDdAzu2/XeyJe0n818As0QgfxBD0
    VahtS19CskCu0/y44Sj+ckr1XhiOcNWP4WtcyBRpL6wWASiz+eB+XwX2BBgK7wW9eAeDvj5rWyrvk+HhgJIoqalSNPhLNXzRIj1KwRM3AFlMQLI1
    U/SkV+sYOxlWByNXGWupMdA4QYfyrQGSRCYxsxGPDtgNX1u49jEyfVC+UBilkPg7c11+LQ9CLczt+8HsFddLC7lLKIvxvN+TtC99QfPdapvp5b37
    4D62+k//NyOYbpPY99WhpO2b78AwGTeEupSa/1vkSRqohyOnWfhnP/3u1GNhPRaD9/kncfuVpvHMraeE88hBnhNKh1bR9ar4VKx1Cf97D1/a5mG0
    h7O9GqyrxgYu2RRp2n4MPHZ4dOtrcCHQFHjJcuce0lRPX3R/VrGcL0nkJiEdxsIadgU0wdZILgmjBbZLqtirL9t1J/4G8qfwxfZOc+rr5ihpRJle
    hYzvBiDAohmqJSnk/Ji5Zy4DPgIXamFAVQFhncQogSFtT5SAhXFPjQMTejLM8UFuZ0lhgb6rsO9J3dyM2xBWN3JqlGNxEW4SJ0lt6V6phZjAVx9L
    VS4E4qsXEzMXNC4U6ZEqXJwIQX/be0RrlyemqMXTjG0khZDkiSHL8XNIqABPpowAPRcXYbHEzTR2wCmpfGzvMQLpN2SAGRNeU3RiqfBPAcKhVLzE
    ic1Z6xFVo9wqJzZegHKDgqCQt9w/KRyL02S1qJMH7lGH1cvw5JF7zXh8zi234wPXppoC376QKwhvOX6WcKNUqEerYIppRVwNi8ixgwktXOkhH+Mk
    Uk3SX3nJpG6nADv9Ai5McRVM3vTplAEt3l+tCJianJpxqnqyPaPK3HHiWAGRazsnFRe2yatsolhPuFXc0lF95yTDukD7ni1/5etmVSBd3b3mH9Vg
    t99oUVIKe0GIISkUvXdihrhnqE/6dY8a8Z9h024/LZ00HlTNym1u0UK1kUYYL/AWAU4use1xpFVNrn4nDO1go75dQL+xGanN1c//6HQYp70fn+fd
    gR0orU/1of0GwtC0LphldGhoHVBQYf+Uk2k3vREfnuJ3YXy+6UMBetJIVZUh/6Nswp0H55gTAxG0eITeuBRAgXu8vW7Ac9Yz4p37jZyyaqdanpHa
    UPbWJnvxd589ViWSW0KXc+0/HoDxDJb5ewsBKRRBdGjoYEl2e8IwFg0I008hHmpmCP2WOd/dfGLWQQoLRz6KbXN7Z9KzZKm0eud3qzb8kEk97roG
    5mym61yd+l38/tzIMgCD/eTC39LYhZXuS5Cx81DTnECD0IP4FT4Gv7jBw8WxkxALXjW6i3hYne00aDbD2MTlHX9Ur5mmExdqteMpay+M4LIN4UcX
    ERn5NpzEDq4iSBes7JHaWPggOSLPYEeBIRf7ZMZx7ytqv6kh2hUKgL1pKlI3GGnK7dksD79YR3Yi8+fcevFq/vD14G+iI8x+qs21iMPvhu5J+eXU
    rNzc7jg2nRVYwyktiwL/K4j7N+nFXCDoaO+jrnKbXwE7FzN99zNHpJvamNkEuWNKa5aATdJEOE2ZvTjln0WLhFei9s/6zP8ISAjd8CjgMTY6TMAN
    v3ZuxYNrGzz0BNdAjUYqx9opZW7Wyhv8KWwviaFI01ZJ5TMLeEvOO766k+JAqEWfRYCFrV5Wq0A+47QdlTw79gfEb6fMxsb7WcCv4tojvPzn4LKo
    yf5GEMsH082jGD6Fj8DE0Pkscc4d4m2hLdidWBqrRCuN0iaADy/a7QZhs83MTHQUlVxJvwLhdoN0Hq2hTAbeT741hfCzrf+6SJ8YbWz+VV7lz6wj
    n06fpfADBWMx/qVi7HQNJOYzxKJOjFBBosVfwrrqpmT5DHkfK0tcJA9pXU9UI72WEa6K4yjcRRPnJYF5We6MiS2WzBdbb/VlRhPoIyztyAREebnU
    wkr52nIzx816/VfvkH6Q6E0q4pfsneas1mY0JP6tRY3zXBzRK8yGMgtEOhdhA7B7LaiesJd6Z5qx0ZjXS68pETx6YsxSix+E+79LzyP7neMfD2Rq
    XVp37wgnx6Pxu5UXYi0yn5DKVwhWPOM+3J/mx8IKsCDRQMJW7wlEVL0ZEoOhwKjgwMHcZz/WjfuNVH9wgDzsrKrj72tAz6pSRkklaMp+tEmXSm9E
    59pV+uGNINQAPMK3MroRTGKkTNFHNc2LAPdqp1DeLQoKW3eq8BjvAMbMGenVe+8MrrHIV2HAH47Mczp+d5kbkg8asfiOlCUvm/Czh0SgSeLbQMBP
    BJtefDzHK9SUddOj5lqPql3P8ZSJvGHvFRCOZhaSGVV1FdkxS7itpmboQmQt/dj9Rjggh+H6I1YqOQAbcnBVsku7+aERfCcl5oAWQ+GseGebSdvh
    1EMLfKthIIYkT7SWRcFDMEL2PQoJQvnIscenis3iiy7EkrIj8gtQNQtX+0HfttX41SZnOfxJRee0JjHb5zd6KSTp2qgybVCY6w2RQX2kTrzj1V8z
    UQhhq7mHyKbCMu43orZH3fvcscjXC34LuomFpBRIGczD+LGQ8maVr+WtA9JyYPO8wBarVFUHR1VXVEjMnPasQjDRZpNnPePTG+rZayisbAff+EdP
    YEXTsMUy7eLFL//GpmGX6Y7WrWc2ej/fgPn8B4R5f5kWXt/Xh49CGB8CJEjI4T8iBFewfqhz/AAQoY9G9dUb3xfmfQu1MYhUTZNkjjIygSM9krPs
    obqDkMt5EbKWpIoX6ZdJ3xHFtHPmH7ViX7wY9mqaFzlze0iDEimNR0PRK20GPBHc6resODezzoKYGqOPD5Gs60J/dhaxTie40Eg14CC+VJcx9RKu
    qeammDPY1H1XYND+gQ0RD+EI+sbDViIweZQnlAPpLEejWvhSh3HRHB8OdzeOn1BEoHwVlW0ggWomj1JZ7Ntq8gUZgu0pmGnMv2a8X2eLrw+ZuMNB
    krpmiLsUtn1XzmWW/SnR0eysBqBAL0oL+bU0u2whneZb7Fl+ervOTzPBJpn7NKuqO3QkzJ0QJFVE0xGyPF8juogc3qabmfPcTdn8k1dV8mLHHDqX
    sqNgUIPnWKg/lyS8NqGPqdbbH/44ZCi2lx9eVpn8pa4a/sKJuK+TH34mnxDO3b69SizI/rFMg0XsrTxvLSEWNIOQ2wCgYUXhgrWBQGEaVhNjIuex
    gzFAGLPsVt3de+Ls4dmvG5osxQChGvDMAHB22RWubwW/NxQqigIdat1r+kbSF3J3CbajRsMoFhLpV27QAHJWAEAF+fH2aTASDTqo+s+nQbYPLUlq
    83g4+WJijm4VTUlUmwMAoUfMsr3FSzShM61StFCeWC2YylXhtVTNz6/8UKAx+DdcWaNMDj2OIDZSbDS4voGtJz0Rh6P6jOfrhCICvJOozF/AdGp8
    rvUrFSOaPrVaJW8vwfkCBYRE4Ynpu3H/nashv7G6F83kGof5KM59ksZds3s1tdoHiQMfOYimtiluI8/IOwKJN8a/i4eTqI4UgFwfTAbjgqMQJoag
    6/dX2MSFBekTUSjkfBVLdItFXCnh7qCGAwcR5ahBRwquQoAoO704PGvqNuPpEE+wqJf7TGOIaQTUzerD330aSc0wXGcvA6fBVXQUTyvK2SmBemRu
    Re+oLc/501tngXxacV1bWrvNuy0sbgcVFwjwUwUw80E92TMYPDVhuqliHK6e17XQD6NXipyV9XayPJ19OJwHEEjnPDuQGge1PDs2qnL+w4bDv0Q8
    b+zvTG+s1LYgXnw77ATMpRyQi1pI1wtPsZaG9+BU/33RwaXLIIIP8kWtYbBTLIlynKsbMHhhbDpWLsj2OMsq8nN4bYYnqWaIHgTEjsSHS+ItUVEK
    nL34gJ3GniIr9ZWp/x+T6fiOpeVTgIg49DzMsSnpcoP+lB9kpixr8JBZvIRq2QGAgE4+5TrKEfRsQSa61AqVaNjoEqIXy3uQMthkKq+/h6cYk3FY
    9zpB8ca11+zQxfVIpkY5fwfaqsw+znf+ORbWbCmsXYJWMVjm9dCfVz4oBc4YG7Df/RaQSU4AcUb+UBk9Vv1EZLC+UxWHSApg8mYe0F/l/QS8r6lK
    AXGVo8Rb+L5Tz2KqKcpba+7yQBFhv1dmW83LjP6yg1Whogmtg2T7pKStfppt1cBHN7CqZKBJNR59hk7peNlYDnYWXcoDuHzYU3tUb+LbKDKkxLOn
    lTdyMITUpQs1Fpcw052wbHO7OweBME+Ji/frIrWhRfTNcswNkRW2vpEEN1EU/wHg/Vp6D62rv0loO/dih1z2aa91AhSg3Y2gbUwmVnq1wQT10XK/
    iHi4AChosccaWB3LDRszL7LE4e4fBVhVCwrOhJ+mdWhjQlUrxTE0SIYQmimxnp7BbdximHn/LwgxPh4zuBWao2WaH4vyU34iH5QvEB8xSqIY3TZo
    75uJmjbLD8yp8BA9j2g20f5QTUvqZczEPFyqzB7OIloQR8iDnefJ6y8cgiN5AHE+2XCFn9//6Lw0cI0gnhDWX4QztzuINdoBFRJI0YHYgwLVS1Js
    ddXLjJxqMfyg7UjQEY2ToxZ/uSBbEuuL+0uATYI5UDLpCRuDh4rZah3Cr++Pe2lZhVK+p1MmxImW7OImSFETvCL9hG5FVe9ILctM3Z6nwtXe9kHj
    jTm+6P6XP3QmHerQephEgCtQkrFpZcXETsVXrFKETEMPCTsiwmy6ZXY+FMP8TzujpV74J3drAy6XmgZwaKDRbAG43YlgJNKOGtx6LEm28/le7HRn
    MdLo4/yXJWO5YpoYG2JgJtxHpV4gxibkPhp0bspo4+WqhgMHYxxWZd+fdJvnr5xXI6CDSkbe4wYmx4jS/QgI3K/1xpMRUHiOl2K1c8Nc+WBXLGA1
    nZm2hPBVmZfhlZmL3X1mOb4G9hAFFEOt/IhK5D8OIHimATbEjwsQrzxbqkltYaSKs/yRl+vYgG1Tn/QbuFhwGNBtCBpfE/UgshQ1WRjD/nrofPzn
    qz/dlGbH1agra1TMwU35NfRnl+CrzsLSFliYkfJ7AYiynjdDRRCO9xgNa1FOeIS+OgCvQEzQfbvbiXjMKgdpxkvNKAZp9zAPGshOMHO7EP9BKWbU
    LQ1t09Tv6gyUolcXNQ0MFebfeL/bgbCkMMyOv0Fn
""")
"""A tile of 256 pixels with smooth areas, edges and some noise, without sample adaptive offset, as phones code it.

At its rate a photo of 12 megapixels has 1.3 MB.
"""
