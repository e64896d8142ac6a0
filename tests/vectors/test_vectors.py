# SPDX-License-Identifier: ISC
"""The vectors as tests: one a family and mode, which lists what failed."""
import argparse

import pytest

from vectors import run, selection

OPTIONS = argparse.Namespace(peer=[], origin="", wire=None, mode=None, family=None, id=None, jobs=1, verbose=False)
HERE, ELSEWHERE = selection.split(selection.load_vectors())
CASES = sorted({(vector["family"], mode) for vector in HERE for mode in selection.modes_of(vector)})


@pytest.mark.parametrize("family,mode", CASES)
def test_family(family, mode):
    jobs = [job for job in run.jobs_of([vector for vector in HERE if vector["family"] == family], OPTIONS) if job[1] == mode]
    failed = [f"{name}: {'; '.join(failures)}" for name, _, _, failures, _ in run.run_share(jobs, OPTIONS) if failures]
    assert not failed, f"{len(failed)} of {len(jobs)}:\n" + "\n".join(failed)


def test_every_vector_is_here_or_named():
    assert len(HERE) + len(ELSEWHERE) == 455
