"""What stands at a path: files of every format are read and written as files alone, and links and modes stay."""

import os
import stat
import threading

import numpy as np
import pytest

import numrnn
from numrnn._files import replace_file
from numrnn.cli import main

pytest.importorskip("safetensors")
pytest.importorskip("onnx")
pytest.importorskip("h5py")


def resumed(path):
    model = numrnn.SequenceModel(numrnn.RNN(1, 2), numrnn.Linear(2, 1))
    options = {"loss": numrnn.losses.mse, "optimizer": numrnn.optim.SGD(model, lr=0.1), "epochs": 1}
    return numrnn.fit(model, np.zeros((3, 4, 1)), np.zeros((4, 1)), **options, checkpoint_path=path, resume=True)


READERS = {
    "load": (numrnn.load, "x.safetensors"),
    "from_torch": (numrnn.from_torch, "x.safetensors"),
    "from_keras": (numrnn.from_keras, "x.keras"),
    "from_onnx": (numrnn.from_onnx, "x.onnx"),
    "onnx_backend": (numrnn.onnx_backend.prepare, "x.onnx"),
    "fit": (resumed, "x.run"),
}


def outcome(call, *arguments):
    """What a call raises; a call that still waits after ten seconds is a failure, not a hang."""
    found: list[BaseException | None] = []

    def run():
        try:
            call(*arguments)
            found.append(None)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert found, "the call still waits"
    return found[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("special", ["pipe", "device"])
@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_refused_and_never_waited_for(name, special, tmp_path):
    read, file_name = READERS[name]
    path = tmp_path / file_name
    if special == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    error = outcome(read, path)
    assert type(error) is ValueError
    assert " is no regular file." in str(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("suffix", ["safetensors", "keras", "onnx", "pt"])
def test_the_command_line_refuses_them_too(suffix, tmp_path, capsys):
    pipe, target = tmp_path / f"pipe.{suffix}", tmp_path / "y.safetensors"
    os.mkfifo(pipe)
    for arguments in (["describe", str(pipe)], ["convert", str(pipe), str(target)]):
        found: list[int] = []
        assert outcome(lambda given=arguments, into=found: into.append(main(given))) is None
        assert found == [2]
        assert "is no regular file" in capsys.readouterr().err
    assert not target.exists()


WRITERS = {
    "save": (lambda path: numrnn.save(numrnn.RNN(1, 2, seed=0), path), numrnn.load),
    "to_onnx": (lambda path: numrnn.to_onnx(numrnn.RNN(1, 2, seed=0), path), numrnn.from_onnx),
}
every_writer = pytest.mark.parametrize(("write", "read"), WRITERS.values(), ids=WRITERS)


@every_writer
def test_what_is_no_file_is_not_replaced(write, read, tmp_path):
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    with pytest.raises(ValueError, match=r"null' is no regular file"):
        write(link)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert os.listdir(tmp_path) == ["null"]


@every_writer
def test_a_link_stays_one_and_its_file_is_written(write, read, tmp_path):
    """An old file, and one that is not there yet, in another folder, by two links in a row."""
    (tmp_path / "far").mkdir()
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "far" / "file"
    second.symlink_to("far/file")
    first.symlink_to("second")
    for _ in range(2):
        write(first)
        assert first.is_symlink()
        assert second.is_symlink()
        assert not file.is_symlink()
        assert read(first).num_parameters == 10
    assert sorted(os.listdir(tmp_path)) == ["far", "first", "second"]
    assert os.listdir(tmp_path / "far") == ["file"]
    file.unlink()
    (tmp_path / "far").rmdir()
    with pytest.raises(FileNotFoundError, match=r"the folder '.*far' does not exist"):
        write(first)
    first.unlink()
    first.symlink_to("first")
    with pytest.raises(OSError, match="Too many levels"):
        write(first)


@pytest.mark.skipif(os.name == "nt", reason="there are no permissions of this kind")
@every_writer
def test_a_new_file_has_the_permissions_of_any_other_and_an_old_one_keeps_its_own(write, read, tmp_path, monkeypatch):
    """Nor can anyone read meanwhile who may not; the process's mask, which threads rely on, is never touched."""
    path, other = tmp_path / "file", tmp_path / "other"
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the mask was changed"))
    other.write_bytes(b"")
    write(path)
    assert path.stat().st_mode == other.stat().st_mode
    sync, seen = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(stat.S_IMODE(os.fstat(file).st_mode)), sync(file)))
    for mode in (0o600, 0o644, 0o664):
        path.chmod(mode)
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert seen.pop() & ~mode == 0


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_may_be_as_long_as_the_folder_takes(tmp_path):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    path = tmp_path / ("n" * longest)
    for data in (b"first", b"second"):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == [path.name]
