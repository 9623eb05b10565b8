"""The metadata of an archive, and the limit of what it may unpack to."""

from __future__ import annotations

import pytest
from tests.support.archive_parts import META, RECORDS, pack, read, records_in, written

from bellcow.snapshot import archive
from bellcow.snapshot.archive import Limit


def test_real_nomad_refuses_the_version_of_our_archives():
    # Its reader takes the versions 0 and 1, and takes what it cannot read for its own state.
    assert read(written()).meta.version > 1


@pytest.mark.parametrize("version", [0, 1])
def test_meta_of_an_earlier_version_and_with_unknown_keys_is_read(version):
    meta = META.replace(b'"Version":1000', b'"Version":%d,"New":{"x":[1]}' % version)
    assert records_in(pack(meta=meta)) == RECORDS


def test_limit_follows_the_upload_and_the_room_on_the_disk():
    mib = 1 << 20
    assert archive.limit_for(1_000, 10 << 30) == Limit(64 * mib)
    assert archive.limit_for(10 * mib, 10 << 30) == Limit(200 * mib)
    assert archive.limit_for(10 * mib, 100 * mib) == Limit(90 * mib)
