# SPDX-License-Identifier: ISC
"""Configurations, right and wrong, as posternd -n and -T see them (vectors CF-03 to CF-12)."""
import glob
import os
import re
import subprocess

import pytest

from lib import libconfig, tls
from lib.http1 import Client
from lib.postern import POSTERND, ROOT, check_config
from lib.stage import Stage, settings

GOOD = settings("127.0.0")


def with_(**overrides):
    return libconfig.text_of({**GOOD, **overrides})


def test_good_configuration():
    done = check_config(GOOD)
    assert done.returncode == 0, done.text


def with_certificates(text, folder):
    """What a configuration names below /etc/postern, made anew: CAs, certificates, and their keys."""
    for name in sorted(set(re.findall(r'"/etc/postern/([a-z-]+)\.ocsp"', text))):
        pair = tls.root().certify(f"{name}.example")
        for end, file in ("pem", pair.certificate), ("key", pair.key), ("ocsp", tls.root().staple(pair)):
            text = text.replace(f'"/etc/postern/{name}.{end}"', f'"{file}"')
    text = re.sub(r'"/etc/postern/[a-z-]+\.crl"', f'"{tls.root().crl()}"', text)
    for name in sorted(set(re.findall(r'"/etc/postern/([a-z-]+)\.(?:pem|key)"', text))):
        made = folder / name
        subprocess.run([os.path.join(ROOT, "certs", "make-test-certificates"), made, f"{name}.example"], check=True,
                       stdout=subprocess.DEVNULL)
        is_ca = name == "inspect" or name.endswith("-ca")
        text = text.replace(f'"/etc/postern/{name}.pem"', f'"{made}/{"ca" if is_ca else "chain"}.pem"')
        text = text.replace(f'"/etc/postern/{name}.key"', f'"{made}/{"ca" if is_ca else "leaf"}.key"')
    return text


@pytest.mark.parametrize("path", sorted(glob.glob(os.path.join(ROOT, "etc", "*.conf"))), ids=os.path.basename)
def test_shipped_configurations_are_good(path, tmp_path):
    """Files that they name and this machine lacks are put in place."""
    text = open(path).read()
    for number, named in enumerate(re.findall(r'hosts_file\s*=\s*"([^"]+)"', text)):
        (tmp_path / f"hosts{number}").write_text("tracker.example\n")
        text = text.replace(named, str(tmp_path / f"hosts{number}"))
    text = re.sub(r'"/var/log/postern/[^"]*"', f'"{tmp_path}/access.jsonl"', text)
    text = with_certificates(text, tmp_path)
    text = re.sub(r'(?m)^user\s*=\s*"[^"]*"', 'user = "nobody"', text)
    done = check_config(text)
    assert done.returncode == 0, done.text
    assert "error" not in done.text.lower()


def test_printed_configuration_means_the_same():
    printed = check_config(GOOD, arguments=("-T",))
    assert printed.returncode == 0, printed.text
    again = check_config(printed.stdout, arguments=("-T",))
    assert again.returncode == 0, again.text
    assert again.stdout == printed.stdout
    assert "keepalive = 75" in printed.stdout


@pytest.mark.parametrize("mode,folder_mode", [(0o666, 0o755), (0o622, 0o755), (0o644, 0o777)])
def test_cf03_writable_by_others(tmp_path, mode, folder_mode):
    folder = tmp_path / "conf"
    folder.mkdir()
    os.chmod(folder, folder_mode)
    done = check_config(GOOD, folder=str(folder), mode=mode)
    assert done.returncode != 0
    assert "writ" in done.text


def test_cf03_sticky_folder_is_fine(tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    os.chmod(folder, 0o1777)
    assert check_config(GOOD, folder=str(folder)).returncode == 0


@pytest.mark.parametrize("text,line,words", [
    ("polices = ( );", 1, ["polices", "policies"]),
    ("workers = 1;\nlimits = { sesions = 5; };", 2, ["limits.sesions", "sessions"]),
    ("timeouts = { headers = 5.0; };", 1, ["timeouts.headers", "header"]),
    ("wrokers = 1;", 1, ["wrokers", "workers"]),
    ("policies = ( { name = \"a\"; action = \"alow\"; } );", 1, ["alow", "allow"]),
])
def test_cf04_misspelt_key_is_an_error_that_helps(text, line, words):
    done = check_config(text)
    assert done.returncode != 0
    said = next(one for one in done.text.splitlines() if re.search(rf"\.conf:{line}: ", one))
    assert all(word in said for word in words), said


def test_all_errors_at_once():
    done = check_config('workers = "two";\nlimits = { sessions = 0; };\ntimeouts = { body = -1.0; };\nnonsense = true;\n')
    lines = {int(number) for number in re.findall(r"\.conf:(\d+): ", done.text)}
    assert done.returncode != 0 and lines == {1, 2, 3, 4}, done.text


def test_syntax_error_names_the_line():
    done = check_config("workers = 1;\nlimits = { sessions = ;\n")
    assert done.returncode != 0 and re.search(r"\.conf:2: ", done.text)


def test_cf06_no_policy_denies_everything():
    with Stage(policies=[]) as stage, Client(stage.proxy) as client:
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 403
        assert stage.postern.wait_access(lambda line: line.get("reason") == "no-policy")
        assert stage.origin.requests == []


def test_cf07_allow_everything_is_a_warning():
    done = check_config(with_(policies=[{"name": "all", "action": "allow"}]))
    assert done.returncode == 0
    assert re.search(r"\.conf:\d+: .*", done.text), done.text


@pytest.mark.parametrize("value", ["0", "0.0", "-1", "-0.5"])
@pytest.mark.parametrize("key", ["header", "tunnel_idle", "drain"])
def test_cf08_no_infinite_timer(key, value):
    done = check_config(with_(timeouts=libconfig.Raw(f"{{ {key} = {value}; }}")))
    assert done.returncode != 0 and f"timeouts.{key}" in done.text


@pytest.mark.parametrize("value", ["5", "5.0", "0.5"])
def test_seconds_may_be_whole_or_not(value):
    assert check_config(with_(timeouts=libconfig.Raw(f"{{ header = {value}; }}"))).returncode == 0


def test_numbers_that_libconfig_would_cut():
    done = check_config(with_(limits=libconfig.Raw("{ body_bytes = 5000000000; }")))
    assert done.returncode != 0 and "body_bytes" in done.text or "L" in done.text
    assert check_config(with_(limits=libconfig.Raw("{ body_bytes = 5000000000L; }"))).returncode == 0


@pytest.mark.parametrize("listener,good", [
    ({"address": "0.0.0.0:3128"}, False),
    ({"address": "192.0.2.1:3128"}, False),
    ({"address": "0.0.0.0:3128", "from": ["client"]}, True),
    ({"address": "127.0.0.1:3128"}, True),
])
def test_cf12_open_proxy_guard(listener, good):
    done = check_config(with_(listeners=[{"name": "proxy", "mode": "explicit", **listener}]))
    assert (done.returncode == 0) == good, done.text


@pytest.mark.parametrize("text", [
    '@include "/etc/passwd"\n',
    'listeners = ( { name = "A"; mode = "explicit"; address = "127.0.0.1:1"; } );',
    'listeners = ( { name = "a"; mode = "explicit"; address = "127.0.0.1:99999"; } );',
    'policies = ( { name = "a"; from = "nowhere"; action = "allow"; } );',
    'policies = ( { name = "a"; action = "allow"; }, { name = "a"; action = "deny"; } );',
    'policies = ( { name = "a"; networks = [ "10.0.0.0/33" ]; action = "allow"; } );',
    'policies = ( { name = "a"; hosts_file = "/nonexistent/names"; action = "deny"; } );',
    'zones = ( { name = "self"; networks = [ "10.0.0.0/8" ]; } );',
])
def test_refused(text):
    done = check_config(text)
    assert done.returncode != 0 and re.search(r"\.conf:?\d*:? ", done.text), done.text


def test_rule_that_can_never_decide_is_a_warning():
    first = {"name": "first", "from": "client", "action": "allow", "protocols": ["http", "websocket", "tls", "tunnel"]}
    done = check_config(with_(policies=[first, {**first, "name": "second", "hosts": ["never.example"]}]))
    assert done.returncode == 0
    assert "second" in done.text or "never" in done.text, done.text


# A key a line, and what is wrong with it where nothing but the machine can know it.
REFUSED_BY_THE_MACHINE = [
    ('user = "nobody-at-all";', 'user: no user has the name "nobody-at-all"'),
    ('log = { access = "/nowhere/access.jsonl"; };', "log.access: /nowhere"),
    ('resolver = { hosts = "/proc"; };', "resolver.hosts: /proc: not a regular file"),
    ('tls = { keylog = "/nowhere/keys"; };', "tls.keylog: /nowhere/keys"),
    ('admin = { address = "192.0.2.1:9128"; };', "admin.address: cannot listen on 192.0.2.1:9128"),
    ('listeners = ( { name = "far"; mode = "explicit"; address = "192.0.2.1:3128"; from = "here"; } );',
     "listeners.far.address: cannot listen on 192.0.2.1:3128"),
    ('policies = ( { name = "listed"; from = "here"; action = "deny"; hosts_file = "/nowhere/hosts"; } );',
     "policies.listed.hosts_file: /nowhere/hosts"),
]


@pytest.mark.parametrize("key,message", REFUSED_BY_THE_MACHINE, ids=[key.split(" ")[0] for key, _ in REFUSED_BY_THE_MACHINE])
def test_what_the_machine_refuses_has_its_place(tmp_path, key, message):
    """By a start, and by a check where it can tell without changing anything: file:line: key: message."""
    if key.startswith("user") and os.getuid() != 0:
        pytest.skip("a user is looked up by root alone")
    text = f'zones = ( {{ name = "here"; networks = "127.0.0.0/8"; }} );\nruntime_dir = "{tmp_path}/run";\n{key}\n'
    checked, started = check_config(text), check_config(text, arguments=())
    assert started.returncode == 1 and f"postern.conf:3: {message}" in started.stderr
    if re.match("user|log|resolver|policies", key):
        assert checked.returncode == 1 and f"postern.conf:3: {message}" in checked.stderr


def test_usage():
    done = subprocess.run([POSTERND, "--no-such-option"], capture_output=True, text=True, timeout=15)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 3      # what is wrong is not scrolled away
    assert "--no-such-option" in done.stderr and "usage" in done.stderr
    done = subprocess.run([POSTERND, "-n", "-c", "/nonexistent.conf"], capture_output=True, text=True, timeout=15)
    assert done.returncode != 0 and "/nonexistent.conf" in done.stdout + done.stderr


def test_a_pattern_that_does_not_compile():
    """CF-10: an error with its line; what runs goes on."""
    with Stage() as stage:
        broken = {"name": "broken", "protocols": ["websocket"], "action": "allow", "websocket": {"match": [{"name": "open", "pattern": "a(b"}]}}
        before = stage.postern.ctl("status")["generation"]
        good = stage.postern.settings
        done = stage.postern.reload({**good, "policies": [broken, *good["policies"]]})
        assert done.returncode != 0 and re.search(r"postern\.conf:\d+: .*pattern", done.stdout + done.stderr), done.stdout + done.stderr
        assert stage.postern.ctl("status")["generation"] == before
        with Client(stage.proxy) as client:
            assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
