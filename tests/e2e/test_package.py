# SPDX-License-Identifier: ISC
"""The Debian package: its service, manual pages and scripts; in the long form also its life, from the build to the purge, in a root of its own."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from lib.postern import BUILD, POSTERND, ROOT, check_config, wait_until
from machine import SOCKET, Machine

PACKAGING = os.path.join(ROOT, "packaging")
SERVICE = os.path.join(PACKAGING, "postern.service")
EXPOSURE = 2.0
CAP_NET_ADMIN = 12
LONG = os.environ.get("POSTERN_LONG") == "1"


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program} here")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=options.pop("timeout", 60), **options)


@needs("systemd-analyze")
def test_the_service_is_hardened():
    done = run("systemd-analyze", "security", "--offline=true", SERVICE)
    exposure = re.search(r"Overall exposure level for postern.service: ([0-9.]+)", done.stdout)
    assert exposure and float(exposure[1]) <= EXPOSURE, done.stdout[-3000:]


@needs("systemd-analyze")
def test_the_service_is_understood(tmp_path):
    """... with the drop-in for root, too. The programs need not be installed here."""
    text = open(SERVICE).read().replace("/usr/sbin/posternd", POSTERND).replace("/usr/bin/posternctl", os.path.join(BUILD, "posternctl"))
    (tmp_path / "postern.service").write_text(text)
    (tmp_path / "postern.service.d").mkdir()
    shutil.copy(os.path.join(PACKAGING, "root.conf"), tmp_path / "postern.service.d")
    done = run("systemd-analyze", "verify", "--man=no", str(tmp_path / "postern.service"))
    assert not [line for line in done.stderr.splitlines() if "postern" in line or "root.conf" in line], done.stderr


@needs("man")
@pytest.mark.parametrize("page", ["posternd.8", "posternctl.8", "postern.conf.5"])
def test_manual_pages(page):
    path = os.path.join(BUILD, "man", page) if page.endswith("5") else os.path.join(ROOT, "docs", page)
    done = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_manual_page_has_every_key():
    page = open(os.path.join(BUILD, "man", "postern.conf.5")).read()
    written = set(re.findall(r"^\.It Ic (\S+)$", page, re.MULTILINE)) | {name for path in re.findall(r"^\.Ss (\S+) =", page, re.MULTILINE)
                                                                          for name in path.split(".")}
    printed = run(POSTERND, "-T", "-c", os.path.join(PACKAGING, "postern.conf")).stdout
    known = set(re.findall(r"(\w+) = ", printed))
    assert len(known) > 40 and known <= written, known - written


def test_the_configuration_is_good_and_for_this_machine_alone():
    text = open(os.path.join(PACKAGING, "postern.conf")).read()
    done = check_config(text.replace("/var/log/postern/", "/tmp/"))
    assert done.returncode == 0, done.text
    assert re.findall(r'address = "([^"]+)"', text) == ["127.0.0.1:3128"]


@pytest.mark.parametrize("script", sorted(os.listdir(os.path.join(PACKAGING, "deb"))))
def test_maintainers_scripts(script):
    path = os.path.join(PACKAGING, "deb", script)
    if script in ("conffiles", "copyright"):
        assert open(path).read().endswith("\n")
        return
    text = open(path).read()
    assert os.access(path, os.X_OK) and text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
    assert run("sh", "-n", path).returncode == 0


def test_conffiles_are_what_is_installed_below_etc():
    rules = open(os.path.join(ROOT, "cmake", "package.cmake")).read()
    installed = {os.path.join(folder, rename or os.path.basename(source))
                 for source, folder, rename in re.findall(r"install\(FILES (\S+) DESTINATION (/etc/\S+?)(?: RENAME (\S+?))?\)", rules)}
    assert installed == set(open(os.path.join(PACKAGING, "deb", "conffiles")).read().split())


needs_a_package = pytest.mark.skipif(not LONG or os.getuid() != 0 or shutil.which("dpkg") is None,
                                     reason="builds a package and installs it in a root of its own, as root: with POSTERN_LONG=1")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Where the package lies that was built."""
    build = tmp_path_factory.mktemp("package")
    assert run("cmake", "--preset", "package", "-B", str(build), cwd=ROOT, timeout=120).returncode == 0
    done = run("ninja", "-C", str(build), "package", timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:]
    [deb] = glob.glob(str(build / "*.deb"))
    return deb


@needs_a_package
def test_a_package_is_installed_upgraded_and_purged(package):
    depends = run("dpkg-deb", "-f", package, "Depends").stdout
    assert {"libc6", "libssl3", "libnftables1", "adduser"} <= set(re.findall(r"[\w.+-]+", depends)), depends
    life = run("unshare", "-m", "-n", "-p", "-f", os.path.join(ROOT, "tests", "e2e", "package_life.sh"), package, timeout=180)
    found = life.stdout.splitlines()
    assert life.returncode == 0 and sum(line.startswith("good: ") for line in found) == 18, life.stdout + life.stderr
    assert not [line for line in found if line.startswith("not: ")], life.stdout


@pytest.fixture
def machine(package, tmp_path):
    made = Machine(str(tmp_path), package)
    yield made
    made.close()


@needs_a_package
@needs("systemd")
def test_systemd_runs_the_service(machine):
    machine.systemctl("start", "postern")
    assert machine.has(ActiveState="active", StatusText="Serving, generation 1")
    machine.systemctl("reload", "postern")
    assert machine.has(StatusText="Serving, generation 2")

    good = machine.good("cat", "/etc/postern/postern.conf")
    machine.write("/etc/postern/postern.conf", "limits = {\n", more=True)
    assert machine.run("systemctl", "reload", "postern").returncode != 0
    assert machine.has(ActiveState="active", StatusText="Serving, generation 2")
    machine.write("/etc/postern/postern.conf", good)

    machine.systemctl("stop", "postern")
    assert machine.has(ActiveState="inactive", Result="success", NRestarts="0"), machine.journal()


@needs_a_package
@needs("systemd")
def test_systemd_follows_an_upgrade(machine):
    machine.systemctl("start", "postern")
    for upgrade in (["posternctl", "-s", SOCKET, "upgrade"], ["systemctl", "kill", "-s", "USR2", "--kill-who=main", "postern"]):
        before = machine.unit("MainPID")
        machine.good(*upgrade)
        wait_until(lambda: machine.unit("MainPID") != before, what="another main process")
        wait_until(lambda: f"pid             {machine.unit('MainPID')}" in machine.run("posternctl", "-s", SOCKET, "status").stdout, what="it serves")
    assert machine.has(ActiveState="active", NRestarts="0"), machine.journal()
    # What systemd did not start is killed and started again all the same.
    machine.systemctl("kill", "-s", "KILL", "--kill-who=main", "postern")
    wait_until(lambda: machine.has(ActiveState="active", NRestarts="1"), what="it is started again")
    machine.postern("status")


@needs_a_package
@needs("systemd")
def test_systemd_replaces_what_stands_still(machine):
    machine.write("/etc/systemd/system/postern.service.d/soon.conf", "[Service]\nWatchdogSec=1s\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "postern")
    before = machine.unit("MainPID")
    machine.systemctl("kill", "-s", "STOP", "--kill-who=main", "postern")
    wait_until(lambda: machine.has(ActiveState="active", NRestarts="1"), what="it is started again")
    assert machine.unit("MainPID") != before and "Watchdog timeout" in machine.journal()
    machine.postern("status")


@needs_a_package
@needs("systemd")
def test_systemd_runs_it_for_root(machine):
    """With the drop-in: the kernel's filter is programmed, and each process has its user and no capability beyond what it is for."""
    machine.systemctl("start", "postern")
    machine.good("install", "-D", "/usr/share/doc/postern/examples/root.conf", "/etc/systemd/system/postern.service.d/root.conf")
    machine.write("/etc/postern/postern.conf", 'packet_filter = { backend = "nftables"; };\nuser = "postern";\n', more=True)
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "postern")
    assert machine.has(ActiveState="active", NRestarts="0"), machine.journal()
    assert "table inet postern" in machine.good("nft", "list", "tables")
    users = set(machine.good("ps", "-e", "-o", "user:32=").split())
    assert {"postern-worker", "postern-logger", "postern-control", "postern-filter"} <= users, users
    told = machine.good("sh", "-c", "cat /proc/[0-9]*/status")
    capabilities = {name: int(mask, 16) for name, mask in re.findall(r"^Name:\t(postern-.*)\n(?:.*\n)*?CapEff:\t(\w+)$", told, re.MULTILINE)}
    assert capabilities.pop("postern-filter") == 1 << CAP_NET_ADMIN and len(capabilities) >= 3 and not any(capabilities.values()), capabilities
    machine.systemctl("reload", "postern")
    before = machine.unit("MainPID")
    machine.postern("upgrade")
    wait_until(lambda: machine.unit("MainPID") not in (before, "0"), what="another main process")
    machine.systemctl("stop", "postern")
    assert machine.has(ActiveState="inactive", Result="success", NRestarts="0"), machine.journal()
