"""The command line: what each command prints, where, and its exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from literature import own_cells

import numrnn
from numrnn import cli


@pytest.fixture
def run(capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def call(*words):
        try:
            code = cli.main(words)
        except SystemExit as ended:  # argparse's own refusals
            code = ended.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_info_prints_every_fact_on_stdout(run):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    assert set(lines) == {name.replace("_", " ") for name in numrnn.info()}
    assert lines["numrnn"].strip() == numrnn.__version__


def test_python_dash_m_is_the_same_command():
    finished = subprocess.run(
        [sys.executable, "-m", "numrnn", "info"], capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("numrnn")
    assert numrnn.__version__ in finished.stdout.splitlines()[0]


def test_describe_prints_what_the_layer_says(run):
    code, out, err = run("describe", "lstm", "8", "64", "--shape", "100,32,8")
    assert (code, err) == (0, "")
    assert out == numrnn.LSTM(8, 64).describe((100, 32, 8)) + "\n"


def test_describe_passes_its_options_on(run):
    words = "describe gru 8 16 --shape 32,100,8 --num-layers 2 --batch-first --dtype float64".split()
    code, out, _ = run(*words)
    assert code == 0
    assert out == numrnn.GRU(8, 16, num_layers=2, batch_first=True, dtype="float64").describe((32, 100, 8)) + "\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["describe", "no/such.safetensors"], "No such file"),
        (["describe", "model.txt"], "has the suffix '.txt', which is no known format"),
        (["describe", "model.onnx", "8", "64"], "sizes were given beside 'model.onnx'"),
        (["describe", "lstm", "8"], "expected two sizes and a shape: numrnn describe lstm INPUT_SIZE HIDDEN_SIZE"),
        (["describe", "lstm", "8", "64"], "expected two sizes and a shape"),
        (["describe", "lstm", "8", "64", "--shape", "100,x"], "expected integers separated by commas"),
        (["describe", "lstm", "8", "64", "--shape", "100,32,9"], "9 features, expected 8"),
        (["convert", "no/such.safetensors", "b.onnx"], "No such file"),
        (
            ["warmup", "--cells", "transformer"],
            "`cells` has 'transformer', expected names of lstm, gru, gru_reset_before, rnn, rnn_relu",
        ),
        (["warmup", "--dtypes", "float16"], "`dtypes` has 'float16', expected names of float32, float64"),
        (["bench", "--cells", "transformer"], "--cells transformer: expected names of lstm, gru, rnn"),
        (["bench", "--against", "numrnn"], "--against numrnn: expected names of torch, onnxruntime, jax"),
        (["bench", "--shapes", "1,2,3"], "--shapes 1,2,3: expected four integers N,T,I,H, where T may be a range"),
        (["bench", "--shapes", "1,2..,3,4"], "such as 10..200; or `grid`, or `ragged`"),
        (["bench", "--shapes", "1,0..2,3,4"], "--shapes 1,0..2,3,4: every size is 1 or more"),
        (["bench", "--shapes", "1,3..2,3,4"], "--shapes 1,3..2,3,4: a range of lengths begins with the shortest"),
        (["bench", "--shapes", "1,0,3,4"], "--shapes 1,0,3,4: every size is 1 or more"),
        (["bench", "--threads", "0"], "--threads 0: expected 1 or more"),
        (["bench", "--repeats", "0"], "--repeats 0: expected 1 or more"),
        (["bench", "--burst", "-1"], "--burst -1.0: expected seconds, more than 0"),
        (["bench", "--burst", "nan"], "--burst nan: expected seconds, more than 0"),
        (["bench", "--json", "no-such-folder/a.json"], "a.json: expected a file in a folder that exists"),
        (["describe", "lstm", "4", "100000000", "--shape", "1,1,4"], "needed for the weights, this machine"),
        ([], "required: COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_on_stderr_with_exit_code_2(run, words, expected):
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert expected in err


def test_warmup_compiles_and_reports_on_stderr(run):
    code, out, err = run("warmup", "--cells", "rnn", "--forward-only")
    assert (code, out) == (0, "")
    assert err.startswith("numrnn: compiling kernels: rnn float32 forward ...")
    assert err.endswith(" s\n")


def test_warmup_takes_one_name_or_several_and_any_form_of_a_dtype(capsys):
    numrnn.warmup(cells=["rnn"], dtypes=float, training=False)
    err = capsys.readouterr().err
    assert "rnn float64 forward ..." in err


def test_warmup_takes_a_users_cell(capsys):
    numrnn.warmup([own_cells.MGU], training=False)
    assert "compiling kernels: MGU float32 forward ..." in capsys.readouterr().err
    with pytest.raises(ValueError, match="`cells` has <class 'dict'>, expected names"):
        numrnn.warmup(cells=dict)


@pytest.mark.parametrize("command", ["demo", "info", "bench", "describe", "warmup", "convert"])
def test_every_command_has_help(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.startswith(f"usage: numrnn {command}")


def test_a_reader_that_leaves_early_is_no_error_of_ours():
    """`numrnn describe ... | head -1` ends without a traceback."""
    code = (
        "import sys, os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); from numrnn.cli import main; "
        "sys.exit(main(['describe', 'lstm', '8', '64', '--shape', '100,32,8']))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in finished.stderr


def test_describe_tells_what_a_file_holds(run, tmp_path):
    path = str(tmp_path / "model.safetensors")
    numrnn.save(numrnn.GRU(3, 5, seed=1), path)
    code, out, err = run("describe", path, "--shape", "7,2,3")
    assert (code, err) == (0, "")
    assert out.startswith("GRU(input_size=3, hidden_size=5, seed=1)\n  weight_ih_l0  (15, 3)  float32\n")
    assert "150 parameters" in out
    assert "x.shape = (7, 2, 3) is read as" in out


def test_convert_writes_what_it_read(run, tmp_path):
    source, target = str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")
    model = numrnn.SequenceModel(numrnn.GRU(3, 5, seed=1), numrnn.Linear(5, 1, seed=1))
    numrnn.save(numrnn.optim.Adam(model, lr=0.5), source)
    code, out, err = run("convert", source, target)
    assert (code, err) == (0, "")
    assert out.startswith("Adam(<SequenceModel>, lr=0.5")
    assert numrnn.load(target).lr == 0.5
    code, _, err = run("convert", source, str(tmp_path / "b.txt"))
    assert code == 2
    assert "Suffixes that can be written: .safetensors, .onnx" in err
