"""Prints signature headers with the verdicts of Stripe's Python and Node SDKs. See README.md."""

import base64
import hashlib
import hmac
import json
import pathlib
import subprocess
import sys
import time

from stripe import WebhookSignature

NOW = 1_790_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"id":"evt_1","object":"event","type":"payment_intent.succeeded"}'


def mac(payload=BODY, t=NOW, secret=SECRET, digest=hashlib.sha256):
    return hmac.new(secret.encode(), f"{t}.".encode() + payload, digest).hexdigest()


GOOD = mac()
BAD = mac(secret="whsec_another")
cases = []


def case(name, header, payload=BODY, secret=SECRET, now=NOW, tolerance=300, bytes_decide=None):
    cases.append(
        {
            "name": name,
            "header": header,
            "payload": payload.hex(),
            "secret": secret,
            "now": now,
            "tolerance": tolerance,
            "bytes_decide": bytes_decide,
        }
    )


def at(t, **options):
    """A header whose `t` is written like this, over what it says."""
    return f"t={t},v1={mac(t=t, **options)}"


def written(t, value=NOW):
    """A header whose `t` is written like this, but signed as this number."""
    return f"t={t},v1={mac(t=value)}"


# Good ones
case("plain", f"t={NOW},v1={GOOD}")
case("v1 before t", f"v1={GOOD},t={NOW}")
case("as Stripe sends in test mode, with v0", f"t={NOW},v1={GOOD},v0={BAD}")
case("v0 first", f"t={NOW},v0={BAD},v1={GOOD}")
case("unknown schemes around", f"v2={BAD},t={NOW},v3=x,v1={GOOD},v99=")
case("two v1, the first is good", f"t={NOW},v1={GOOD},v1={BAD}")
case("two v1, the second is good", f"t={NOW},v1={BAD},v1={GOOD}")
case("the good v1 twice", f"t={NOW},v1={GOOD},v1={GOOD}")
for place in (0, 50, 99):
    signatures = [f"v1={mac(secret=f'whsec_{i}')}" for i in range(100)]
    signatures[place] = f"v1={GOOD}"
    case(f"a hundred v1, the good one at {place}", f"t={NOW}," + ",".join(signatures))
case("a hundred v1, none good", f"t={NOW}," + ",".join(f"v1={mac(secret=f'whsec_{i}')}" for i in range(100)))
case("trailing comma", f"t={NOW},v1={GOOD},")
case("leading comma", f",t={NOW},v1={GOOD}")
case("empty parts", f"t={NOW},,,v1={GOOD}")
case("a part without =", f"t={NOW},junk,v1={GOOD}")
case("a part with an empty name", f"=x,t={NOW},v1={GOOD}")
case("junk behind a second = of v1", f"t={NOW},v1={GOOD}=junk")
case("v1 ends in =", f"t={NOW},v1={GOOD}=")
case("junk behind a second = of t", f"t={NOW}=junk,v1={GOOD}")
case("two = behind v1", f"t={NOW},v1=={GOOD}")

# The time
case("signed now", at(NOW))
for age in (1, 299, 300, 301, 302, 3600, 10**8):
    case(f"{age} s old", at(NOW - age))
for ahead in (1, 299, 301, 86_400, 10**9):
    case(f"{ahead} s in the future", at(NOW + ahead))
case("the last second that both read exactly", at(2**53 - 1))
case("one that JavaScript cannot hold", at(2**53 + 1))
case("above 64 bits", at(2**64))
case("the year 1970", at(0))
case("the year 1970, in 1970", at(0), now=200)
case("100 s old with a tolerance of 60", at(NOW - 100), tolerance=60)
case("100 s old with a tolerance of 100", at(NOW - 100), tolerance=100)
case("3000 s old with a tolerance of 3600", at(NOW - 3000), tolerance=3600)
case("old, with the check of the age off", at(NOW - 10**8), tolerance=0)
case("wrong signature, with the check of the age off", f"t={NOW},v1={BAD}", tolerance=0)

# How the time is written
for name, t in {
    "a plus sign": f"+{NOW}",
    "leading zeros": f"000{NOW}",
    "a space before": f" {NOW}",
    "a space behind": f"{NOW} ",
    "tabs around": f"\t{NOW}\t",
    "a vertical tab before": f"\v{NOW}",
    "a line feed behind": f"{NOW}\n",
    "a space and a plus sign": f" +{NOW}",
    "a plus sign and a space": f"+ {NOW}",
    "two plus signs": f"++{NOW}",
    "letters behind": f"{NOW}abc",
    "a fraction": f"{NOW}.5",
    "a zero fraction": f"{NOW}.0",
    "an underscore": f"{NOW // 1000}_{NOW % 1000:03}",
    "quotes": f'"{NOW}"',
    "full-width digits": "".join(chr(ord(digit) + 0xFEE0) for digit in str(NOW)),
}.items():
    case(f"t with {name}, signed as the number", written(t))
    case(f"t with {name}, signed as written", at(t))
case("t as hexadecimal", written(hex(NOW)))
case("t with an exponent", written("1.79e9"))
case("t in milliseconds", at(NOW * 1000))
for t in ("-1", "-5", "-0", str(-NOW)):
    case(f"t={t}", at(t))
for t in ("", "NaN", "Infinity", "null", "now"):
    case(f"t is {t!r}", at(t))
case("t without =", f"t,v1={GOOD}")
case("no t", f"v1={GOOD}")
case("T in upper case", f"T={NOW},v1={GOOD}")
case("a space before t", f" t={NOW},v1={GOOD}")
case("a space behind t", f"t ={NOW},v1={GOOD}")

# More than one time
case("t twice, the same", f"t={NOW},t={NOW},v1={GOOD}")
case("t twice, the same with leading zeros", f"t={NOW},t=0{NOW},v1={GOOD}")
case("t twice, the first is signed", f"t={NOW},t={NOW - 1},v1={GOOD}")
case("t twice, the last is signed", f"t={NOW - 1},t={NOW},v1={GOOD}")
case("an old t that is signed, then a fresh one", f"t={NOW - 9999},t={NOW},v1={mac(t=NOW - 9999)}")
case("a fresh t, then an old one that is signed", f"t={NOW},t={NOW - 9999},v1={mac(t=NOW - 9999)}")
case("a good t, then an empty one", f"t={NOW},t=,v1={GOOD}")
case("an empty t, then a good one", f"t=,t={NOW},v1={GOOD}")
case("a good t, then one without =", f"t={NOW},t,v1={GOOD}")

# The signature
case("of another secret", f"t={NOW},v1={BAD}")
case("of another time", f"t={NOW},v1={mac(t=NOW - 1)}")
case("of the body alone", f"t={NOW},v1={hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()}")
case("SHA-1", f"t={NOW},v1={mac(digest=hashlib.sha1)}")
case("SHA-512", f"t={NOW},v1={mac(digest=hashlib.sha512)}")
case("base64", f"t={NOW},v1={base64.b64encode(bytes.fromhex(GOOD)).decode()}")
case("upper case", f"t={NOW},v1={GOOD.upper()}")
case("one letter in upper case", f"t={NOW},v1={next(GOOD.replace(c, c.upper(), 1) for c in GOOD if c.isalpha())}")
case("one digit short", f"t={NOW},v1={GOOD[:-1]}")
case("one digit long", f"t={NOW},v1={GOOD}0")
case("half of it", f"t={NOW},v1={GOOD[:32]}")
case("the last digit changed", f"t={NOW},v1={GOOD[:-1]}{'0' if GOOD[-1] != '0' else '1'}")
case("the first digit changed", f"t={NOW},v1={'0' if GOOD[0] != '0' else '1'}{GOOD[1:]}")
case("all zeros", f"t={NOW},v1={'0' * 64}")
case("empty v1", f"t={NOW},v1=")
case("v1 without =", f"t={NOW},v1")
case("no v1", f"t={NOW}")
case("v0 only, and good", f"t={NOW},v0={GOOD}")
case("V1 in upper case", f"t={NOW},V1={GOOD}")
case("v11", f"t={NOW},v11={GOOD}")
case("v01", f"t={NOW},v01={GOOD}")
case("no name", f"t={NOW},={GOOD}")
case("a space before v1", f"t={NOW}, v1={GOOD}")
case("a space behind v1", f"t={NOW},v1 ={GOOD}")
case("a space before the signature", f"t={NOW},v1= {GOOD}")
case("a space behind the signature", f"t={NOW},v1={GOOD} ")
case("quotes around the signature", f't={NOW},v1="{GOOD}"')
case("0x before the signature", f"t={NOW},v1=0x{GOOD}")
case("an empty v1, then a good one", f"t={NOW},v1=,v1={GOOD}", bytes_decide=True)
case("a short v1, then a good one", f"t={NOW},v1=abc,v1={GOOD}")
case("no hexadecimal digits, then a good v1", f"t={NOW},v1={'z' * 64},v1={GOOD}")
case("a v1 without =, then a good one", f"t={NOW},v1,v1={GOOD}")
case("a good v1, then one without =", f"t={NOW},v1={GOOD},v1")
case("a v1 that is not ASCII, then a good one", f"t={NOW},v1=é,v1={GOOD}", bytes_decide=True)
case("a good v1, then one that is not ASCII", f"t={NOW},v1={GOOD},v1=é", bytes_decide=True)
case("a part that is not ASCII", f"t={NOW},ünknown=é,v1={GOOD}")

# The header as a whole
for name, header in {
    "empty": "",
    "a space": " ",
    "commas": ",,,",
    "equals signs": "=,=",
    "semicolons": f"t={NOW};v1={GOOD}",
    "a space for a comma": f"t={NOW} v1={GOOD}",
    "colons": f"t:{NOW},v1:{GOOD}",
    "the signature alone": GOOD,
    "JSON": json.dumps({"t": NOW, "v1": GOOD}),
    "in quotes": f'"t={NOW},v1={GOOD}"',
}.items():
    case(f"header: {name}", header)

# The secret
case("an empty secret", f"t={NOW},v1={mac(secret='')}", secret="")
case("a blank secret", f"t={NOW},v1={mac(secret='  ')}", secret="  ")
case("a secret without its prefix", f"t={NOW},v1={mac(secret=SECRET.removeprefix('whsec_'))}")
case("a secret decoded from base64", f"t={NOW},v1={hmac.new(base64.b64decode(SECRET.removeprefix('whsec_')), f'{NOW}.'.encode() + BODY, hashlib.sha256).hexdigest()}")
case("a secret that does not begin with whsec_", f"t={NOW},v1={mac(secret='very-own-secret')}", secret="very-own-secret")
case("a secret longer than a block", f"t={NOW},v1={mac(secret='whsec_' + 'x' * 100)}", secret="whsec_" + "x" * 100)
case("a secret of one character", f"t={NOW},v1={mac(secret='x')}", secret="x")

# The body
case("one byte changed", f"t={NOW},v1={GOOD}", payload=BODY.replace(b"evt_1", b"evt_2"))
case("a line feed added", f"t={NOW},v1={GOOD}", payload=BODY + b"\n")
case("a space taken away", f"t={NOW},v1={mac(BODY.replace(b':', b': '))}")
case("cut off", f"t={NOW},v1={GOOD}", payload=BODY[:-1])
case("a digit moved from the time to the body", f"t={NOW // 10},v1={mac(b'0.' + BODY, t=NOW // 10)}", payload=b"0." + BODY, now=NOW // 10)
case("a digit moved, signed unmoved", f"t={NOW // 10},v1={mac(b'x')}", payload=b"0.x", now=NOW // 10)
for name, payload in {
    "one byte": b"{",
    "letters beyond ASCII": '{"name":"Zoë Çelik – 東京 🎉"}'.encode(),
    "no JSON at all": b"hello",
    "with CR LF": b'{\r\n "id": "evt_1"\r\n}\r\n',
    "with NUL": b'{"a":"\0"}',
    "10 kB": b'{"a":"' + b"x" * 10_000 + b'"}',
    "64 bytes in all": b"x" * (64 - len(f"{NOW}.")),
    "55 bytes in all": b"x" * (55 - len(f"{NOW}.")),
    "56 bytes in all": b"x" * (56 - len(f"{NOW}.")),
}.items():
    case(f"body: {name}", f"t={NOW},v1={mac(payload)}", payload=payload)
empty = f"t={NOW},v1={mac(b'')}"
case("body: empty", empty, payload=b"")
case("body: empty, signed for another", f"t={NOW},v1={GOOD}", payload=b"")
for name, payload in {
    "not UTF-8": b'{"name":"Zo\xeb"}',
    "cut inside a letter": b'{"name":"Zo\xc3',
    "a lone surrogate": b'{"name":"\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
}.items():
    case(f"body: {name}", f"t={NOW},v1={mac(payload)}", payload=payload, bytes_decide=True)
    as_node_reads = payload.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").encode()
    case(f"body: {name}, signed as Node reads it", f"t={NOW},v1={mac(as_node_reads)}", payload=payload, bytes_decide=False)

# Signed by the SDKs themselves
to_sign = [BODY, '{"name":"Zoë – 東京"}'.encode(), b"{}", b'{"a":"' + b"y" * 3000 + b'"}']
for payload in to_sign:
    header = WebhookSignature.generate_signature_header(payload.decode(), SECRET, timestamp=NOW)
    case(f"signed by the Python SDK: {len(payload)} bytes", header, payload=payload)


def python_accepts(vector):
    now = time.time
    time.time = lambda: vector["now"]
    try:
        return WebhookSignature.verify_header(
            bytes.fromhex(vector["payload"]), vector["header"], vector["secret"], vector["tolerance"]
        )
    except Exception:
        return False
    finally:
        time.time = now


def ask_node(cases, to_sign):
    script = pathlib.Path(__file__).with_name("ask-node.mjs")
    question = {
        "cases": cases,
        "toSign": [{"payload": payload.hex(), "secret": SECRET, "now": NOW} for payload in to_sign],
    }
    answer = subprocess.run(["node", script], input=json.dumps(question), stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(answer.stdout)


for payload, header in zip(to_sign, ask_node([], to_sign)["signed"]):
    case(f"signed by the Node SDK: {len(payload)} bytes", header, payload=payload)

for vector, node in zip(cases, ask_node(cases, [])["verdicts"]):
    python = python_accepts(vector)
    bytes_decide = vector.pop("bytes_decide")
    vector |= {"python": python, "node": node}
    if bytes_decide is None:
        vector["accept"] = python and node
    else:
        vector |= {"bytes_decide": True, "accept": bytes_decide}

assert len(cases) == len({vector["name"] for vector in cases})
print("[\n" + ",\n".join(json.dumps(vector) for vector in cases) + "\n]")
agreed = sum(vector["python"] == vector["node"] for vector in cases)
accepted = sum(vector["accept"] for vector in cases)
print(f"{len(cases)} headers; the SDKs agree on {agreed}; {accepted} are to be accepted", file=sys.stderr)
