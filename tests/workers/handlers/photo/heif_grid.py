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
    AERAAAEAAQAAAAABewABAAAAAAAAGbwAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA12lwcnAAAAC4
    aXBjbwAAAHlodmNDAQNwAAAAkAAAAAAAPPAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAPLoCQGEAAQAsQgEBA3AAAAMAkAAAAwAA
    AwA8oAgIBAWW6kkprm4CGgwIAAADAMgAAAMACEBiAAEAB0QBwXKwYkAAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAABAAAAAQAAAAAQ
    cGl4aQAAAAADCAgIAAAAF2lwbWEAAAAAAAAAAQABBIECAwQAABnEbWRhdAAAGbgoAa8TIL0JljO8xEWuKdW6WkVuArUcQK9kVohwlWXdyXip6big
    hIkcVRcQMWtSdUZQ5xz0Cn+IlvumBe0pjROhqxZiS9umpBFJDbjkdiAY0srVtG1urfgtLYepSJGuvKJV1PWcpwY0/FhVax9+t1Rxq/5ptIiGECKB
    KxSF2bxxhJawD8LX+OGt+Y8tsnzXRbOIiCoTtQJ65ab8upQwk/vlVGG2LXV3F9GlgptzRuB7l8QABbdlYOB2wEq/IrspD1kACWNvlLv49M6bXfMJ
    Z8fAmC68S/qzF5y/Gdz2rlhlpxSNfPI73wm56w7WDuJnsWrlNSDNN9C89MwDPrEPxvOWJ0XIcBjOKEuuMiknw5csdaE7MrAcBQ5KaXeSftRqPdTP
    6DNFPd1bfPI3G7NBwqrjoXOxeSHmjRsE1esTrErOP6RUSvev8QUev0ZDTM0c2tp+QyoZZYWO5zR2JAJRC0RHPim3FV65kqM+4tjYJtNkcDKl2Eoq
    9FXgj8uFJXqBBRGZ4yRhA6WyZ6WsDZsFV+t/gRDbHWIMugAMpraE+vl/SerkQ4SPjNm49rXasyr3VQ+bR/HxTPWI/iqwNi+Ter4+8rOM/VR15Ewm
    E6Y/67h7ArDSx+1MHObtjWdOGEHS8zi0Opg5uSav0eL5sIXGndA1ezrUpfEaPe4d9NYaJUvaptmCleaeHAFEBGaT+q+Mlt/0nfUX1zUfiIK7YjPg
    M1V/wn6cP/TVm1yYq1bsPDv26AEV84pa6auwykbhcfni6Et4Fdea+1uYdFAYxM0JlA7W1vUIT0k+NjIics6+2Mszpsur8WPPETQe6gRxPtRyj2A6
    aj2gPBxKZihoURN7Nv2TopJV930tnVY0VdjPNsQF6gEL7howxZ7/pCfdNF5fHvfoBqnxEaQHOaBp8lv/0Hb5CoK2ZbeTQlnfZxp9tklDZwnEOTKX
    T3U2+zXVQ2T1vRwhR5+jBoFuHQCLvfjrAnGyWw7s9mLLX9xqdiyTawqTwGkRlO/rdft9q8KrYf9NKTezpJFUXK886cG2ztfId++GvZdNWvxDCxs3
    frLJsCzSibW+8O9504jMvuTYgPrU1wU0pnOcKjCd7wIuWRAaxsaooNSH1CbneAKMEtWuX/KvmR+xy0noBqcGzd43uvAX9fr8JgUE+Z/qAtF3r8n0
    kLGCh0AvlQ/cWgTOyWhiUdYlCzTC/CT5NNEin0ns/Ipk+AbPNjXKBpxZrjb5bT0Sr/YFRpGI6UOEwzX1QRe+X3e/X3H/ck8EwA3QqVC9lmjG1ZZk
    iMS3EvfUwiT39i+i+r6uY1Si34fJg++tY12cfYYWALn+SYSfnaOjyOtSRtDdFcuozOonoqw2NmGSAEABscNFJpIGNPAB97kUMwMSYwnMV9GmRRon
    2dM22X/vV3+s5E6xspNLCdS09WhA8WAF2AFnKh2nPa7u2WFJUFV39u/sCUM8sGiXUedicfn4MCO4wZ6xCJLjo/UmBEXa9NCd27GM8+5bxRn/qasw
    sQDBq+yHUG3AGCGdodY4pgummSv4fgwm/4bEbrpcEKw1vXa4adYr2946PmGu81smVGWG1N3y8zZfNvZyb1N4VjsE/Jse3Wg94Qe5DOZwWTedr+eA
    oidcwQtIZTqDMtwvY6IApKd8yVBsF2OWA48YaIQvtXRE+lBzI1P4Xv0F0G9RC8APaD75xTrYBetz87VFwIRfdVElOTrcbCUIEWmjXx2v0x+oNtGp
    NoZZpgvk+MNnyHkgajRnReRasu5rk6RX4HwMz9iw9QZumOuTGw1rg02WZh8nVBOjEqdDjmWc9ZoDwwFCfKOHQKDGvJlseGTVIOaFZBR0OIZXm1/+
    mnlJ0w0uBBq2HlZ6PobwjUa66pxbHQtLDSI6dqGVg+AU1XiTec5Omz3528cn6MUg7Gaos8hU0zgSOrVxWsgok1VPlAl1DC66ajy8wdSTd8yMm7+P
    DSmfQPCc84s619yWyUQTKVLhzligBbhyFewoGIscFLmKPVVxG7YnUoaWBys1sBWq6IHoVFA76oDEPFLzfXj6fflx9GSNiH6ymwuPN+PrntiQ4E5Q
    tq+hEOz/UkOwywx3Z00JfWn6jMKfd+A3y6wswNuo/YmnkdXMzWzBv6c6h+TgGFRUcQNoMG53eKfL5lb4y4TCYv6p2Z9tiPTVwqiZf3JzR+M3QsTS
    kneqI1sPQCTAvH0Q3tsCwbEou4d7ixJnRUZz2/FsgS74C0k9H8/wOipS/Km7cFPP5VxCGlEsJggxY08OKq58txxxGTQWuWLtL0HlLplv6WQ4CYfs
    CcHiRb+VdFogcaDPkNLHMB8su67OkCsm5ESfypv0uX7SFtZsVQRkSTd7UysLpIIXn4T7i3463RI8xr7seASs+BtKC+juxdTedseT7zbHwkP9a9Ra
    KnxjtL+aLQtwbmm3j94eBXT6fDMun09wgSfPTClh8Ua6jBZluftu+BFpDNjsvfuO8f+xVg+zhkQIAaUqwYYZQg3Wa0rZ8wMIFIVk3OR0iLXds6qW
    7qgc39c1MU1PshLseEAIC5WX5TbWqAlV3LLVBLarKRvyRhpKWn1/Wo6hkZVbOQhCRQ+EkYGag+SZJ34YC+76bbBMPlp0G0FkL02oRpfkgrN3QfWm
    3sXDuVrjZhJ3uPDqNR2o7I+qX2jMiZGAPT7FWNvHJdCVOS2T9SReNZtNXSzb6zhxTZzut3CmNL/GjZfXfTj0Yzt/43KmBk6/F03gsJBvjmmeq3Rb
    ifygzfq303o/Mav6F1yOHgxs9YYorpvEU5AenCt6Sb97gZQe40xA+gHD7SBxkZ/z3l4oysLmIDVIiOI6fuDEYWpU1MVY5o1KXvHhXQoi9YjI2key
    yWugxEWE8Ty0T8qY275qM+gHE1lypPsXESCLCKoxMTc3YgnswncGinifa/R7aQok4OHQtHvOnW+alLxd1sIF+QWAOcuQ1p/CX1tg4nGzkljDws+J
    u4weziGUiwL1WEROr6TwuzJWTp0JQssT+h9YSZ2pKJ6EVHuoC/uncGqPKQi1fiRoFwRYCaVD96wCrzCz2GKFQNteL7o2IaX+hTmeCBJpu9YXrmpU
    SR7KTD7d499b8DEV9kou0ar4wvcXeLybqJpCxvgHAR2wYA5mSBQfCwanTnphq/ZcloqQY4YORbu23UluJoZ1xZglbbZ7NSKyUhZrV3BcjqkuXp3p
    EVRhckvscYUO67Fbd9BAB0ggeqH3YeJLfUGZyZ0egahIxdPkkdjJiffKLu/JXJarZhaO52O+tqDQ9OdirgEEpIBfEoXW1UTuYA8JygTLk+06qhwT
    U3byEgPWrU0pU27YrmMan0A4lDjxeHevWfAPFJdbrF2EMvjOaB9cZdWfSq7qZt8VjV5kBW9MNR3RQIPsaySO/NikZmGXKD+r6Nlovxy8k+CjFeuZ
    HKPncnIrJwhdEr45uyH6Kr7P2Bn0rLykvJYcqse3MC9gR9Neqr/nCskPp00zSScbp5dieez/D5ZIGuN3xNUoMjTe3AhWBoDlUMbbPmt/LyRtLCZ9
    2w2rlds+/OzqJARDbQAlSBBfUmW7V6ENaXXGXdlnO1Dt57Y3kr2Nsd6IKWtMAcSsrGELpIMabIAB8g0xYtlYW0+SY1toLzfDywX8GGWCbIiB0N0D
    O7b9d7Il7SfzXwCzRCB/EEPRVqG1LX0KyQK7T/LjhKP5ySvVeGI5w1Y/ha1zIFGkvrBYBKLP54H5fBfYEGArvBb14B4O+PmtbKu+T4eGAkiipqVI
    0+Es1fNEiPUrBEzcAWUxAsjVT9KRX6xg7GVYHI1cZa6kx0DhBh/KtAZJEJjGzEY8O2A1fW7j2MTJ9UL5QGKWQ+DtzXX4tD0ItzO37wewV10sLuUs
    oi/G835O0L9nKlpxapvp5b374D62+k//NyOYbpPY99WhpO2b78AwGTeEupSa/1vkSRqohyOnWfhnP/3u1GNhPRaD9/kncfuVpvHMraeE88hBnhNK
    h1bR9ar4VKx1Cf97D1/a5mG0h7O9GqyrxgYu2RRp2n4MPHZ4dOtrcCHQFHjJcuce0lRPX3R/VrGcL0nkJiEdxsIadgU0wdZILgmjBbZLqtirL9t1
    J/4G8qfwxfZOc+rr5ihpRJlehYzvBiDAohmqJSnk/Ji5Zy4DPgIXamFAVQFhncQogSFtT5SAhXFPjQMTejLM8UFuZ0lhgb6rsO9J3dyM2xBWN3Jq
    lGNxEW4SJ0lt6V6phZjAVx9LVS4E4qsXEzMXNC4U6ZEqXJwIQX/be0RrlyemqMXTjG0khZDkiSHL8XNIqABPpowAPRcXYbHEzTR2wCmpfGzvMQLp
    N2SAGRNeU3RiqfBPAcKhVLzEic1Z6xFVo9wqJzZegHKDgqCQt9w/KRyL02S1qJMH7lGH1cvw5JF7zXh8zi234wPXppoC376QKwhvZCmx5qT4pTDV
    KhHq2CKaUVcDYvIsYMJLVzpIR/jJFJN0l95yaRupwA7/QIuTHEVTN706ZQBLd5frQiYmpyacap6sj2jytxx4lgBkWs7JxUXtsmrbKJYT7hV3NJRf
    eckw7pA+54tf+XrZlUgXd295h/VYLffaFFSCntBiCEpFL13Yoa4Z6hP+nWPGvGfYdNuPy2dNB5UzcptbtFCtZFGGC/wFgFOLrHtcaRVTa5+JwztY
    KO+XUC/sRmpzdXP/+h0GKe9H5/n3YEdKK1P9aH9BsLQtC6YZXRoaB1QUGH/lJNpN70RH57id2F8vulDAXrSSFWVIf+jbMKdB+eYEwMRtHiE3rgUQ
    IF7vL1uwHPWM+Kd+42csmqnWp6R2lD21iZ78XefPVYlkltCl3PtPx6A8QyW+XsLASkUQXRo6GBJdnvCMBYNCNNPIR5qZgj9ljnf3Xxi1kEKC0c+i
    m1ze2fSs2SptHrnd6s2/JBJPe66BuZsputcnfpd/P7cyDIAg/3kwt/S2IWV7kuQsfNQ05wzcdQSLzh+/gVPga/uMHDxbGTEAteNbqLeFid7TRoNs
    PYxOUdf1SvmaYTF2q14ylrL4zgsg3hRxcRGfk2nMQOriJIF6zskdpY+CA5Is9gR4EhF/tkxnHvK2q/qSHaFQqAvWkqUjcYacrt2SwPv1hHdiLz59
    x68Wr+8PXgb6IjzH6qzbWIw++G7kn55dSs3NzuODadFVjDKS2LAv8riPs36cVcIOho76OucptfATsXM333M0ekm9qY2QS5Y0prloBN0kQ4TZm9OO
    WfRYuEV6L2z/rM/whICN3wKOAxNjpMwA2/dm7Fg2sbPPQE10CNRirH2illbtbKG/wpbC+JoUjTVknlMwt4S847vrqT4kCoRZ9FgIWtXlarQD7jtB
    2VPDv2B8Rvp8zGxvtZwK/i2iO8/OfgsqjJ/kYQywfTzaMYPoWPwMTQ+Sxxzh3ibaEt2J1YGqtEK43SJoAPL9rtBmGzzcxMdBSVXEm/AuF2g3Qera
    FMBt5PvjWF8LOt/7pInxhtbP5VXuXPrCOc7oWVNjJGgPbxWMx/qVi7HQNJOYzxKJOjFBBosVfwrrqpmT5DHkfK0tcJA9pXU9UI72WEa6K4yjcRRP
    nJYF5We6MiS2WzBdbb/VlRhPoIyztyAREebnUwkr52nIzx816/VfvkH6Q6E0q4pfsneas1mY0JP6tRY3zXBzRK8yGMgtEOhdhA7B7LaiesJd6Z5q
    x0ZjXS68pETx6YsxSix+E+79LzyP7neMfD2RqXVp37wgnx6Pxu5UXYi0yn5DKVwhWPOM+3J/mx8IKsCDRQMJW7wlEVL0ZEoOhwKjgwMHcZz/Wjfu
    NVH9wgDzsrKrj72tAz6pSRkklaMp+tEmXSm9E59pV+uGNINQAPMK3MroRTGKkTNFHNc2LAPdqp1DeLQoKW3eq8BjvAMbMGenVe+8MrrHIV2HAH47
    Mczp+d5kbkg8asfiOlCUvm/Czh0SgSeLbQMBPBJtefDzHK9SUddOj5lqPql3P8ZSJvGHvFRCOZhaSGVV1FdkxS7itpmboQmQt/dj9Rjggh+H6I1Y
    qOQAbcnBVsku7+aERfCcl5oAWQ+GseGebSdvh1EMLfKthIIYkT7SWRcFDMDKQvawVpKUJQvnIscenis3iiy7EkrIj8gtQNQtX+0HfttX41SZnOfx
    JRee0JjHb5zd6KSTp2qgybVCY6w2RQX2kTrzj1V8zUQhhq7mHyKbCMu43orZH3fvcscjXC34LuomFpBRIGczD+LGQ8maVr+WtA9JyYPO8wBarVFU
    HR1VXVEjMnPasQjDRZpNnPePTG+rZayisbAff+EdPYEXTsMUy7eLFL//GpmGX6Y7WrWc2ej/fgPn8B4R5f5kWXt/Xh49CGB8CJEjI4T8iBFewfqh
    z/AAQoY9G9dUb3xfmfQu1MYhUTZNkjjIygSM9krPsobqDkMt5EbKWpIoX6ZdJ3xHFtHPmH7ViX7wY9mqaFzlze0iDEimNR0PRK20GPBHc6resODe
    zzoKYGqOPD5Gs60J/dhaxTie40Eg14CC+VJcx9RKuqeammDPY1H1XYND+gQ0RD+EI+sbDViIweZQnlAPpLEejWvhSh3HRHB8OdzeOn1BEoHwVlW0
    ggWomj1JZ7Ntq8gUZgu0pmGnMv2a8X2eLrw+ZuMNBkrpmiLsUtn1XzmWW/SnR0eysBqBTYzbg8fOt2ppdthDO8y32LL89XecnmeCTTP2aVdUduhJ
    mTogSKqJpiNkeL5HdRA5vU03M+e4m7P5Jq6r5MWOOHUvZUbAoQfOsVB/Lkl4bUMfU622P/xwyFFtLj68rTP5S1w1/YUTcV8mPvxNPiGdu316lFmR
    /WKZBovZWnjeWkIsaQchtgFAwovDBWsCgMI0rCbGRc9jBmKAMWfYrbu698XZw7NeNzRZigFCNeGYAODtsitc3gt+bihVFAQ61brX9I2kLuTuE21G
    jYZQLCXSrt2gAOSsAIAL8+Ps0mAkGnVR9Z9Og2weWpLV5vBx8sTFHNwqmpKpNgYBQo+ZZXuKlmlCZ1qlaKE8sFsxlKvDaqmbn1/4oUBj8G64s0aY
    HHscQGyk2GlxfQNaTnojD0f1Gc/XCEQFeSdRmL+A6NT5XepWKkc0fWq0St5fg/IECwiJwxPTduP/O1ZDf2N0L5vINQ/yUZz7JYy7ZvZra7QPEgY+
    cxFNbFLcR5+QdgUSb41/Fw8nURwpALg+mA3HBUYgTQ1B1+6vsYkJ4zS0ZtZjDKTkfBVLdItFXCnh7qCGAwcR5ahBRwquQoAoO704PGvqNuPpEE+w
    qJf7TGOIaQTUzerD330aSc0wXGcvA6fBVXQUTyvK2SmBemRuRe+oLc/501tngXxacV1bWrvNuy0sbgcVFwjwUwUw80E92TMYPDVhuqliHK6e17XQ
    D6NXipyV9XayPJ19OJwHEEjnPDuQGge1PDs2qnL+w4bDv0Q8b+zvTG+s1LYgXnw77ATMpRyQi1pI1wtPsZaG9+BU/33RwaXLIIIP8kWtYbBTLIly
    nKsbMHhhbDpWLsj2OMsq8nN4bYYnqWaIHgTEjsSHS+ItUVEKnL34gJ3GniIr9ZWp/x+T6fiOpeVTgIg49DzMsSnpcoP+lB9kpixr8JBZvIRq2QGA
    gE4+5TrKEfRsQSa61AqVaNjoEqIXy3uQMthkKq+/h6cYk3FY9zpB8ca11+zQxfVIpkY5fwfaqsw+znf+ORVeUb9yMD3DDjHBVpTBhNNQYmMFtI3K
    wzzoDhO0/SnwDXbPGghOtiy8epQGzpB88yS0GsWc23tBf5f0EvLtEEal1lynoZBM4WZ0XAyyoTQtML2giioePgRYErKd5DxnBjnR/wUeDeLzXjMn
    Fe5gbalR9ABMUpKFLgfmh8p0P3I9uTLy2YZxS7cwWyFa4nnTSV3AKigypMSzp5U3cjCE1KULNRaXMNOYX10ujKnU891AmHg9xiojtho0sbgp7Bz9
    15z1bgrkJooJBqhusgLtuzGRIRMUD+HxTw9cCZhcQ4xBuY6fSrwwzuvoLRBpcCYxuIn9afwrdehE/nD3D4KsKoWFZ0JP0zq0MaEqleKYpQESGG81
    Ymsd0aormPUyOFYkt12Chf8QABCjbAOm7G/RElySJ+lRcqIII1k7F9HEIwg9+ffNYLM8dLOazXWTCjgQbL8ii2R2cRQnNUwcdZBPRCBZ+o3/c2F6
    WPxa6N8/g3E4S32uj1TJiyJjQhnhDblrdCFaY2TPiDDvpuDj6cGiNgc54ny1yUxlBOMzSpNUxZYHTEy3fJX06Wqc42gUtpuiGLqEI2Y13XG+swbE
    wPfqbnME+8V6yWo6atXg+Gs/40WhmiUC3wE/y2KJ783o14uMW/zSuM6i5ffRk17H/8h08bt8mJVmTFSX7Nrz59cCUNHCiIg8M0jlypWM1LtcXsb7
    Gy2VXwq4OBLeZXzM27GzTDX+xWO60DGYXy++Jm6++UsTqqs2cZZwGU4JpiSumlJU8Vd6hUa+e1RsbImAS2lINbsGKb73n3nahdjZGje1WDfyYpFn
    KttohgLo/7qoncL6vc856OE98epmCW8wsR0SoFZSj88mFcx8S2SlwzxOtIkQbJrJH2jCEJg1H2B3dkIGAX+kCpm4ZzOLmlyaWbQBiBkk1QHelO+8
    j5LBNzU+6a302TpBiKMQT1nulDLMno6u2MPWJBORUp+MvWZYpr6CYsb8nTxartmllooPqjroyGMW8xqaneothaHlUb5bXrecvxTdCdNlYcTP9Rs2
    c8jda71KeCDGKlbZsXLjsn9nOpoQJkD0cV2U4bUSS99HJtkVHfjra+tZ/nPzdt1RJ/TYpwSeJ8pc+3EmR0HreZ7WKpr2McxE5leiSuwf5A==
""")
"""A tile of 256 pixels with smooth areas, edges and some noise; at its rate a photo of 12 megapixels has 1.3 MB."""
