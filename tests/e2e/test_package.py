# SPDX-License-Identifier: ISC
"""The Debian package: its service, manual pages and scripts; in the long form also its life, from the build to the purge, in a root of its own."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from lib.postern import BUILD, POSTERND, ROOT, check_config

PACKAGING = os.path.join(ROOT, "packaging")
SERVICE = os.path.join(PACKAGING, "postern.service")
EXPOSURE = 2.0
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


@needs("dpkg")
@pytest.mark.skipif(not LONG, reason="builds a package: with POSTERN_LONG=1")
@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_package_is_built_installed_upgraded_and_purged(tmp_path):
    build = tmp_path / "package"
    assert run("cmake", "--preset", "package", "-B", str(build), cwd=ROOT, timeout=120).returncode == 0
    done = run("ninja", "-C", str(build), "package", timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:]
    [deb] = glob.glob(str(build / "*.deb"))
    depends = run("dpkg-deb", "-f", deb, "Depends").stdout
    assert {"libc6", "libssl3", "libnftables1", "adduser"} <= set(re.findall(r"[\w.+-]+", depends)), depends
    life = run("unshare", "-m", "-n", "-p", "-f", os.path.join(ROOT, "tests", "e2e", "package_life.sh"), deb, timeout=180)
    found = life.stdout.splitlines()
    assert life.returncode == 0 and sum(line.startswith("good: ") for line in found) == 18, life.stdout + life.stderr
    assert not [line for line in found if line.startswith("not: ")], life.stdout
