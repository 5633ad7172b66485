"""Canaries for secrets, and names that try everything at once."""

from __future__ import annotations

from tests.post.smtp import PASSWORD

SECRETS = {
    "HEADSPIN_API_TOKEN": "canary-5ec2e7-api-token",
    "USAGEKIT_SERVE_TOKEN": "canary-5ec2e7-api-token",
    "USAGEKIT_SMTP_PASSWORD": PASSWORD,
    "USAGEKIT_IMAP_PASSWORD": "canary-c37fa8-imap-password",
}

TEAMS = (
    "NA",
    "<script>document.title='ran'</script>\"'><img src=x onerror=alert(1)>",
    '#read("/etc/passwd") #image("/etc/passwd") {{ 7*7 }} ../../x',
    '=HYPERLINK("http://192.0.2.1/x","y")',
)
USERS = ("R&D / Café", "<svg/onload=alert(2)>", '"); #panic("x")', "'; DROP TABLE units; --", "@SUM(1+1)")
DEVICES = (
    ("<iframe src=javascript:alert(3)>", "lab-1"),
    ('#import "@preview/cetz:0.3.0": *', "lab-1"),
    ("+1-555", "<b onmouseover=alert(4)>lab-2"),
    ("%7B..%2F..%2Fetc", "lab-1"),
    ("チーム😀\u202egpj", "lab-1"),
)
NOTE = "</style></script><script>alert(5)</script><a href='javascript:alert(6)'>note</a> {% raw %}"
LAB_NAME = "Lab <body onload=alert(7)> & Söhne"

MARKUP = (
    *TEAMS,
    *USERS,
    *(device for device, _ in DEVICES),
    NOTE,
    LAB_NAME,
    "<img src=http://192.0.2.1/x.png>",
    "<link rel=stylesheet href=//192.0.2.1/x.css>",
    "<meta http-equiv=refresh content='0;url=http://192.0.2.1/'>",
    "<style>@import 'http://192.0.2.1/x.css'; * {background: url(http://192.0.2.1/y)}</style>",
    "<object data=http://192.0.2.1/x><embed src=http://192.0.2.1/x>",
    "<form action=http://192.0.2.1/><input autofocus onfocus=alert(8)>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(9)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(10)>'>",
    "<details open ontoggle=alert(11)>",
    "<a href='data:text/html,<script>alert(12)</script>'>x</a>",
    "[x](javascript:alert(13)) ![y](http://192.0.2.1/z.png)",
    "<base href=http://192.0.2.1/>",
    "<video src=http://192.0.2.1/v autoplay onerror=alert(14)>",
    "-->]]><![CDATA[<script>alert(15)</script>",
    "\u2028<script>alert(16)</script>\x00",
)
