# SPDX-License-Identifier: ISC
"""bench/run: short runs of a few workloads, so that it works when it is needed. What it measures here, with sanitizers and beside other tests, says
nothing."""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from lib.postern import BUILD, ROOT, die_with_parent, wait_until

RUN = os.path.join(ROOT, "bench", "run")
sys.path.insert(0, os.path.join(ROOT, "bench"))
from kit import command as bench_command, plots, tables        # noqa: E402
from kit.catalogue import WORKLOADS        # noqa: E402
from kit.roster import all_peers        # noqa: E402

# As posternd, as far as bench/run can see: it listens where the configuration says, and every answer has one wrong byte.
LIAR = r"""#!/usr/bin/python3
import re, socketserver, sys
port = int(re.search(r'address = "127.0.0.1:(\d+)"', open(sys.argv[-1]).read())[1]) if "-c" in sys.argv else sys.exit("liar 1.0")
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 99 + b"y")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 1000
Server(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.fixture(autouse=True)
def two_cpus():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU only")


def command(folder, *arguments):
    """Says which posternd, so that none is built: other tests run it."""
    posternd = [] if "--posternd" in arguments else ["--posternd", os.path.join(BUILD, "posternd")]
    return [RUN, *posternd, "--pin", ",".join(map(str, sorted(os.sched_getaffinity(0))[:2])), "--build", BUILD, "--runs", "1",
            "--seconds", "0.2", "--json", str(folder / "all.json"), "--keep", str(folder / "kept"), "--plots", str(folder / "plots"), *arguments]


def run(folder, *arguments, **options):
    environment = {**os.environ, "TMPDIR": str(folder), **options}
    environment.pop("POSTERND", None)
    return subprocess.run(command(folder, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                          env=environment, preexec_fn=die_with_parent)


def rows_of(text, title):
    """Name -> cells of the table that is under this title; the first is that of the heads."""
    lines = text.partition(title + "\n")[2].strip().splitlines()
    table = [line.strip("|").split("|") for line in lines[:next((n for n, line in enumerate(lines) if not line.startswith("|")), len(lines))]]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in table}


def test_tables_and_json(tmp_path):
    os.chmod(tmp_path, 0o755)
    done = run(tmp_path, "h1-keepalive-small", "ws-echo", "ws-push", "tunnel-bulk", "--variants", "100 B,64 B,explicit proxy", "--peers",
               "direct,relay-rw,relay-splice,relay-ws,postern,postern-forward", "--seconds", "1")        # enough for an answer on a busy machine
    assert done.returncode == 0, done.stderr
    kept = rows_of(done.stdout, "### h1-keepalive-small: 100 B\n")
    assert set(kept) == {"peer", "---", "direct", "relay-rw", "postern"}
    assert kept["peer"][0] == "CPU us/req" and kept["peer"][-2:] == ["x relay-rw", "bad runs"]
    assert kept["relay-rw"][-2:] == ["1.00", "0"] and kept["postern"][-1] == "0"
    everything = json.loads((tmp_path / "all.json").read_text())
    for workload, variant, peer in (("h1-keepalive-small", "100 B", "postern"), ("h1-keepalive-small", "100 B, explicit proxy", "postern-forward"),
                                    ("ws-push", "64 B", "relay-ws"), ("ws-echo", "explicit proxy", "postern-forward")):
        (result,) = everything["workloads"][workload][variant][peer]
        assert result["errors"] == 0 and result["ops"] > 0 and result["us_op"] > 0, (workload, variant, peer, result)
        assert float(rows_of(done.stdout, f"### {workload}: {variant}\n")[peer][0]) == pytest.approx(result["us_op"], abs=0.01)
    assert everything["workloads"]["tunnel-bulk"][""]["relay-splice"][0]["s_gb"] > 0
    assert everything["own_namespace"] or os.getuid() != 0


def test_configurations_are_kept(tmp_path):
    os.chmod(tmp_path, 0o755)
    done = run(tmp_path, "ws-rules", "--variants", "64 B", "--peers", "postern,postern-pattern", "--configurations")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "kept" / "ws-rules" / "64-B-ascii-echo" / "postern-pattern"
    text = (folder / "postern.conf").read_text()
    assert "workers = 1;" in text and "access.jsonl" in text and "no-secrets" in text
    assert "posternd -c" in (folder / "command").read_text()
    assert text.strip() in done.stdout and str(tmp_path / "kept") in done.stdout


def test_a_wrong_answer_is_a_bad_run(tmp_path):
    liar = tmp_path / "liar"
    liar.write_text(LIAR)
    os.chmod(liar, 0o755)
    done = run(tmp_path, "h1-keepalive-small", "--variants", "100 B", "--peers", "relay-rw,postern", "--posternd", str(liar))
    assert done.returncode == 0, done.stderr
    row = rows_of(done.stdout, "### h1-keepalive-small: 100 B\n")["postern"]
    assert row[0] == "-" and row[-1].startswith("1: "), row
    assert "wrong answer" in done.stderr


def test_what_is_missing(tmp_path):
    for peer, path, said in (("tinyproxy", "/nowhere", "scripts/setup bench"), ("nobody", os.environ["PATH"], "no such peer: nobody")):
        done = run(tmp_path, "h1-keepalive-small", "--peers", peer, PATH=f"{path}:/nowhere")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("options, said", [(["--variants", "1 TB"], "--variants 1 TB: there is none like it, but: 100 B; 10 KB"),
                                           (["--runs", "0"], "argument --runs: invalid number above 0 value: '0'"),
                                           (["--seconds", "soon"], "argument --seconds: invalid number above 0 value: 'soon'")])
def test_wrong_options(tmp_path, options, said):
    done = run(tmp_path, "h1-keepalive-small", "--peers", "postern", *options)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def can_be_interrupted():
    """Also where the tests run in the background of a shell, which ignores it for them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent()


def test_interrupt(tmp_path):
    """Nothing is left of a run. (The name is in a path that must not be long.)"""
    os.chmod(tmp_path, 0o755)
    said = tmp_path / "said"
    with open(said, "w") as out:
        process = subprocess.Popen([*command(tmp_path, "ws-echo", "--peers", "postern"), "--seconds", "60"], stdout=out, stderr=out,
                                   env={**os.environ, "TMPDIR": str(tmp_path)}, preexec_fn=can_be_interrupted)
    try:
        wait_until(lambda: process.poll() is not None or glob.glob(f"{tmp_path}/postern-bench-*/access.jsonl"), seconds=200, what="a run")
        assert process.returncode is None, said.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130, said.read_text()
    finally:
        process.kill()
        process.wait()
    assert not glob.glob(f"{tmp_path}/postern-bench-*")
    assert not glob.glob(f"/sys/fs/cgroup/**/postern-bench-{process.pid}-*", recursive=True)
    programs = [open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/cmdline") if os.path.exists(path)]
    assert not [one for one in programs if os.fsencode(str(tmp_path)) in one]


class Options:
    seconds, idle, idle_tls, scale_max, names = 0.2, 100, 10, 100, 1000


def results(*values, errors=0):
    return [{"us_op": value, "errors": errors} for value in values]


def test_ratios_are_taken_round_by_round():
    peers = {name: kind() for name, kind in all_peers([""]).items()}
    rows = {"relay-rw": results(10, 20, 10), "nginx": results(20, 40, 10), "postern": results(15, 30, 15), "haproxy": results(1, 1, 1, errors=2)}
    table = list(tables.Table(WORKLOADS["h1-new-connection"](Options, None), "reverse proxy", rows, peers).lines())
    assert table[0] == "| peer | CPU us/req | x nginx | x relay-rw | bad runs |"
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in table[2:]}
    assert cells["postern"] == ["15.00 (15.00-30.00)", "0.75", "1.50", "0"]
    assert cells["haproxy"] == ["-", "-", "-", "3: 2 errors"]


def test_several_posternds_take_turns():
    assert bench_command.with_labels(["nginx", "postern"], ["", "old"]) == ["nginx", "postern", "postern@old"]
    assert all_peers(["", "old"])["postern@old"].label == "old"


def test_a_plot_has_its_axes_and_names():
    data = {"0 names": {"postern": results(10.0), "nginx <1>": results(9.0)}, "1000000 names": {"postern": results(12.0)}}
    picture = plots.plot("policy", data, "us_op", "names on the list", "CPU us per request")
    tree = xml.etree.ElementTree.fromstring(picture)
    said = {element.text for element in tree.iter() if element.tag.endswith("text")}
    assert {"policy", "names on the list", "CPU us per request", "postern", "nginx <1>", "0", "1M", "12"} <= said
    assert len(re.findall("<circle", picture)) == 3
    assert plots.plot("policy", {"0 names": {"postern": results(1.0, errors=1)}}, "us_op", "x", "y") is None
