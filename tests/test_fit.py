"""`numrnn.fit`: what it computes, what it records, and that a run repeats, stops and goes on without a trace."""

import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import numrnn
from numrnn import callbacks, losses, optim


def make_model(cell="GRU", readout_on="last", features=2, hidden=7, dtype="float32", **options):
    layer = getattr(numrnn, cell)(features, hidden, dtype=dtype, seed=1, **options)
    directions = 2 if options.get("bidirectional") else 1
    readout = numrnn.Linear(directions * hidden, 1, dtype=dtype, seed=2)
    return numrnn.SequenceModel(layer, readout, readout_on=readout_on)


def make_data(rng, readout_on="last", steps=11, rows=23, features=2):
    x = rng.standard_normal((steps, rows, features))
    target = np.cumsum(x[:, :, :1], axis=0) / 3
    return x, target if readout_on == "every" else target[-1]


def train(model, x, y, *, lr=0.02, **options):
    options = {"loss": losses.mse, "epochs": 3, "batch_size": 8, "seed": 5, "progress": False, **options}
    options.setdefault("optimizer", optim.Adam(model, lr=lr))
    return numrnn.fit(model, x, y, **options)


def assert_same_weights(left, right):
    assert left.parameters.keys() == right.parameters.keys()
    for name, value in left.parameters.items():
        np.testing.assert_array_equal(value, right.parameters[name], name)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


class TestWhatIsComputed:
    def test_a_batch_of_all_rows_is_the_loop_written_by_hand(self, rng):
        x, y = make_data(rng)
        model, twin = make_model(), make_model()
        history = train(model, x, y, batch_size=23, epochs=4)
        adam, values = optim.Adam(twin, lr=0.02), []
        for _ in range(4):
            prediction, pullback = twin.vjp(x)
            value, d_prediction = losses.mse(prediction, y)
            adam.step(pullback(d_prediction, x_gradient=False))
            values.append(value)
        assert_same_weights(model, twin)
        assert history["loss"] == values

    def test_every_row_comes_once_in_each_epoch_and_in_another_order(self, rng):
        x, _ = make_data(rng)
        y = np.arange(23.0)[:, None]
        seen = []

        def loss(prediction, target, weight=None):
            seen.append(target[:, 0].copy())
            return losses.mse(prediction, target, weight=weight)

        train(make_model(), x, y, loss=loss, epochs=2)
        assert [len(batch) for batch in seen] == [8, 8, 7] * 2
        first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
        np.testing.assert_array_equal(np.sort(first), y[:, 0])
        np.testing.assert_array_equal(np.sort(second), y[:, 0])
        assert not np.array_equal(first, second)

    @pytest.mark.parametrize("readout_on", ["last", "every"])
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_a_list_is_the_padded_array_with_lengths(self, rng, readout_on, bidirectional):
        x, y = make_data(rng, readout_on)
        lengths = rng.integers(1, 12, 23)
        padding = np.arange(11)[:, None] >= lengths
        x[padding] = np.nan
        if readout_on == "every":
            y[padding] = np.nan
        padded, listed = (make_model(readout_on=readout_on, bidirectional=bidirectional) for _ in range(2))
        rows = [x[:n, k] for k, n in enumerate(lengths)]
        targets = [y[:n, k] for k, n in enumerate(lengths)] if readout_on == "every" else y
        left = train(padded, x, y, lengths=lengths)
        right = train(listed, rows, targets)
        assert left == right
        assert_same_weights(padded, listed)
        assert np.isfinite(left["loss"]).all()

    @pytest.mark.parametrize("readout_on", ["last", "every"])
    def test_batch_first_is_the_same_training(self, rng, readout_on):
        x, y = make_data(rng, readout_on)
        lengths = rng.integers(0, 12, 23)
        left = make_model(readout_on=readout_on, dtype="float64")
        right = make_model(readout_on=readout_on, dtype="float64", batch_first=True)
        train(left, x, y, lengths=lengths)
        train(right, x.swapaxes(0, 1), y.swapaxes(0, 1) if readout_on == "every" else y, lengths=lengths)
        for name, value in left.parameters.items():  # a head over all steps sums them in the order of memory
            np.testing.assert_allclose(value, right.parameters[name], rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("readout_on", ["last", "every"])
    def test_a_weight_counts_as_copies_and_zero_as_absence(self, rng, readout_on):
        x, y = make_data(rng, readout_on, rows=6)
        counts = np.array([1, 0, 3, 2, 1, 0])
        copies = np.repeat(np.arange(6), counts)
        left, right = (make_model(readout_on=readout_on, dtype="float64") for _ in range(2))
        history = train(left, x, y, sample_weight=counts)
        copied = train(right, x[:, copies], y[:, copies] if readout_on == "every" else y[copies])
        np.testing.assert_allclose(history["loss"], copied["loss"], rtol=1e-10)
        for name, value in left.parameters.items():
            np.testing.assert_allclose(value, right.parameters[name], atol=1e-9)

    def test_one_sequence_without_an_axis_of_rows(self, rng):
        x, y = make_data(rng, "every", rows=1)
        left, right = make_model(readout_on="every"), make_model(readout_on="every")
        train(left, x, y)
        train(right, x[:, 0], y[:, 0])
        assert_same_weights(left, right)

    def test_gradients_are_clipped_and_their_norm_recorded(self, rng):
        x, y = make_data(rng)
        model, twin = make_model(), make_model()
        history = train(model, x, y, optimizer=optim.Adam(model, lr=0.1), batch_size=23, epochs=1, max_norm=1e-3)
        prediction, pullback = twin.vjp(x)
        gradients = pullback(losses.mse(prediction, y)[1])
        clipped, norm = optim.clip_by_global_norm(gradients, 1e-3)
        optim.Adam(twin, lr=0.1).step(clipped)
        assert_same_weights(model, twin)
        assert history["gradient_norm"] == pytest.approx([norm])

    def test_recompute_changes_no_bit(self, rng):
        x, y = make_data(rng)
        left, right = make_model("LSTM"), make_model("LSTM")
        train(left, x, y)
        train(right, x, y, recompute=True)
        assert_same_weights(left, right)

    def test_validation_is_the_mean_over_its_rows(self, rng):
        x, y = make_data(rng, "every")
        lengths = rng.integers(0, 12, 23)
        weight = rng.random(23)
        model = make_model(readout_on="every")
        history = train(model, x, y, validation=(x, y, lengths, weight), epochs=1)
        prediction = model(x, lengths=lengths)
        spread = np.where(np.arange(11)[:, None] < lengths, weight, 0.0)
        value, _ = losses.mse(prediction, y, weight=spread)
        assert history["val_loss"] == pytest.approx([value], rel=1e-6)


class TestTruncation:
    def test_pieces_carry_the_state_and_cut_the_gradient(self, rng):
        x, y = make_data(rng, "every")
        lengths = rng.integers(0, 12, 23)
        model, twin = make_model("LSTM", "every"), make_model("LSTM", "every")
        train(model, x, y, batch_size=23, epochs=2, bptt_steps=4, lengths=lengths)
        adam, steps = optim.Adam(twin, lr=0.02), int(lengths.max())
        for _ in range(2):
            state = None
            for begin in range(0, steps, 4):
                piece = slice(begin, min(begin + 4, steps))
                left = np.clip(lengths - begin, 0, piece.stop - begin)
                (prediction, state), pullback = twin.vjp(x[piece], state, lengths=left, return_state=True)
                valid = (np.arange(piece.stop - begin)[:, None] < left).astype(float)
                d_prediction = losses.mse(prediction, y[piece], weight=valid)[1]
                adam.step(pullback(d_prediction, x_gradient=False))
        assert_same_weights(model, twin)

    def test_on_the_last_state_gradients_reach_back_so_many_steps(self, rng):
        x, y = make_data(rng)
        model, twin = make_model("LSTM"), make_model("LSTM")
        train(model, x, y, batch_size=23, epochs=1, bptt_steps=4)
        _, state = twin(x[:7], return_state=True)
        prediction, pullback = twin.vjp(x[7:], state)
        optim.Adam(twin, lr=0.02).step(pullback(losses.mse(prediction, y)[1]))
        assert_same_weights(model, twin)

    def test_pieces_longer_than_the_series_change_nothing(self, rng):
        x, y = make_data(rng, "every")
        left, right = make_model(readout_on="every"), make_model(readout_on="every")
        train(left, x, y)
        train(right, x, y, bptt_steps=100)
        assert_same_weights(left, right)

    def test_validation_of_pieces_is_validation_of_the_whole(self, rng):
        x, y = make_data(rng, "every")
        model = make_model(readout_on="every")
        history = train(model, x, y, bptt_steps=4, epochs=1, validation=(x, y))
        assert history["val_loss"] == pytest.approx([losses.mse(model(x), y)[0]], rel=1e-6)


class TestRepeating:
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_one_seed_gives_one_result_on_any_number_of_threads(self, rng, n_threads):
        x, y = make_data(rng, rows=70)
        first, second = (make_model("LSTM", hidden=33, num_layers=2, dropout=0.3) for _ in range(2))
        left = train(first, x, y, batch_size=64, n_threads=1)
        right = train(second, x, y, batch_size=64, n_threads=n_threads)
        assert left == right
        assert_same_weights(first, second)

    def test_without_a_seed_one_is_drawn_and_told(self, rng):
        x, y = make_data(rng)
        first, second = make_model(), make_model()
        history = train(first, x, y, seed=None)
        train(second, x, y, seed=history.seed)
        assert_same_weights(first, second)


class StopAfter(callbacks.Callback):
    """Ends a run after so many steps of the optimiser, as Ctrl-C does."""

    def __init__(self, steps):
        self.steps = steps

    def on_batch_end(self, run):
        self.steps -= 1
        if self.steps == 0:
            run.interrupt()


class TestResuming:
    @pytest.mark.parametrize("bptt_steps", [None, 4])
    @pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 10])
    def test_an_interrupted_run_goes_on_as_if_it_had_not_been(self, rng, tmp_path, bptt_steps, steps):
        x, y = make_data(rng, "every")
        path = tmp_path / "run.safetensors"
        options = {"bptt_steps": bptt_steps, "validation": (x, y), "max_norm": 0.5}

        def make():
            model = make_model("LSTM", "every", num_layers=2, dropout=0.2)
            adam = optim.Adam(model, lr=0.02)
            schedule = optim.WarmupCosine(adam, warmup_steps=3, total_steps=12)
            stopping = callbacks.EarlyStopping(patience=5)
            return model, {"optimizer": adam, "schedule": schedule, "callbacks": [stopping], **options}

        whole, arguments = make()
        expected = train(whole, x, y, **arguments)
        cut, arguments = make()
        arguments["callbacks"].append(StopAfter(steps))
        history = train(cut, x, y, checkpoint_path=path, **arguments)
        assert history.stopped == "interrupted"
        resumed, arguments = make()
        arguments["callbacks"].append(StopAfter(-1))
        history = train(resumed, x, y, checkpoint_path=path, resume=True, **arguments)
        assert history == expected
        assert_same_weights(resumed, whole)

    def test_a_run_that_failed_goes_on_from_the_last_good_batch(self, rng, tmp_path):
        x, y = make_data(rng)
        path = tmp_path / "run.safetensors"
        calls = []

        def failing(prediction, target, weight=None):
            calls.append(0)
            if len(calls) == 5:
                raise RuntimeError("the disk is full")
            return losses.mse(prediction, target, weight=weight)

        whole, cut, resumed = make_model(), make_model(), make_model()
        expected = train(whole, x, y)
        with pytest.raises(RuntimeError, match="the disk is full"):
            train(cut, x, y, loss=failing, checkpoint_path=path)
        assert train(resumed, x, y, checkpoint_path=path, resume=True) == expected
        assert_same_weights(resumed, whole)

    def test_a_finished_run_can_be_prolonged(self, rng, tmp_path):
        x, y = make_data(rng)
        path = tmp_path / "run.safetensors"
        whole, short, long = make_model(), make_model(), make_model()
        expected = train(whole, x, y, epochs=4)
        train(short, x, y, epochs=2, checkpoint_path=path)
        assert train(long, x, y, epochs=4, checkpoint_path=path, resume=True) == expected
        assert_same_weights(long, whole)

    def test_without_a_file_a_run_begins(self, rng, tmp_path):
        x, y = make_data(rng)
        left, right = make_model(), make_model()
        train(left, x, y)
        train(right, x, y, checkpoint_path=tmp_path / "new.safetensors", resume=True)
        assert_same_weights(left, right)

    def test_another_run_is_refused(self, rng, tmp_path):
        x, y = make_data(rng)
        path = tmp_path / "run.safetensors"
        train(make_model(), x, y, checkpoint_path=path)
        with pytest.raises(ValueError, match="belongs to another run: its batch_size is 8, here it is 9"):
            train(make_model(), x, y, checkpoint_path=path, resume=True, batch_size=9)
        with pytest.raises(ValueError, match=r"`seed` is 6, but the run in .* has 5"):
            train(make_model(), x, y, checkpoint_path=path, resume=True, seed=6)
        with pytest.raises(ValueError, match="its model is"):
            train(make_model("RNN"), x, y, checkpoint_path=path, resume=True)

    @pytest.mark.parametrize("keep", [0, 7, 100, 3000])
    def test_a_damaged_file_is_refused_and_the_model_untouched(self, rng, tmp_path, keep):
        x, y = make_data(rng)
        path = tmp_path / "run.safetensors"
        train(make_model(), x, y, checkpoint_path=path)
        path.write_bytes(path.read_bytes()[:keep])
        model = make_model()
        with pytest.raises(ValueError, match="cannot be read"):
            train(model, x, y, checkpoint_path=path, resume=True)
        assert_same_weights(model, make_model())

    def test_ctrl_c_ends_the_run_after_the_batch_and_leaves_a_usable_model(self, tmp_path):
        program = """
import sys
import numpy as np, numrnn
model = numrnn.SequenceModel(numrnn.RNN(2, 7, seed=1), numrnn.Linear(7, 1, seed=2))
class Say(numrnn.callbacks.Callback):
    def on_batch_end(self, run):
        if run.epoch == 2 and run.batch == 1:
            print("ready", flush=True)
history = numrnn.fit(model, np.ones((11, 23, 2)), np.ones((23, 1)), loss=numrnn.losses.mse, batch_size=2, epochs=10**6,
                     optimizer=numrnn.optim.Adam(model), callbacks=[Say()], progress=False, checkpoint_path=sys.argv[1])
print(history.stopped, len(history) > 1, model(np.ones((3, 1, 2))).shape)
"""
        path = tmp_path / "run.safetensors"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as run:
            assert run.stdout.readline() == "ready\n"
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        assert out == "interrupted True (1, 1)\n"
        assert "ends after this batch" in err
        assert path.exists()


class TestCallbacks:
    def test_early_stopping_restores_the_best_weights(self, rng):
        x, y = make_data(rng)
        model = make_model()
        kept = []

        class Keep(callbacks.Callback):
            def on_epoch_end(self, run):
                kept.append(run.model.parameters)

        stopping = callbacks.EarlyStopping(patience=2)
        options = {"validation": (x, -y), "callbacks": [stopping, Keep()], "epochs": 50}  # learning y worsens -y
        history = train(model, x, y, **options)
        assert history.stopped.startswith("early stopping: val_loss")
        assert stopping.best == min(history["val_loss"])
        assert stopping.best_epoch == int(np.argmin(history["val_loss"])) + 1
        assert len(history) == stopping.best_epoch + 3
        for name, value in kept[stopping.best_epoch - 1].items():
            np.testing.assert_array_equal(model.parameters[name], value)

    def test_early_stopping_of_a_maximum(self, rng):
        x, y = make_data(rng)
        stopping = callbacks.EarlyStopping(patience=0, monitor="loss", mode="max")
        history = train(make_model(), x, y, epochs=50, callbacks=[stopping])
        assert len(history) == int(np.argmax(history["loss"])) + 2

    def test_checkpoint_writes_weights_that_load(self, rng, tmp_path):
        safetensors = pytest.importorskip("safetensors.numpy")
        x, y = make_data(rng)
        model = make_model()
        train(model, x, y, epochs=4, callbacks=[callbacks.Checkpoint(tmp_path / "{epoch}.safetensors", every=2)])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["2.safetensors", "4.safetensors"]
        twin = make_model()
        twin.load_state_dict(safetensors.load_file(tmp_path / "4.safetensors"))
        assert_same_weights(model, twin)

    def test_checkpoint_of_the_best(self, rng, tmp_path):
        x, y = make_data(rng)
        path = tmp_path / "best.safetensors"
        checkpoint = callbacks.Checkpoint(path, best_only=True, monitor="loss", mode="max")
        written = []

        class Note(callbacks.Callback):
            def on_epoch_end(self, run):
                written.append(path.stat().st_mtime_ns)

        history = train(make_model(), x, y, epochs=6, callbacks=[checkpoint, Note()])
        best = np.maximum.accumulate(history["loss"])
        assert [bool(change) for change in np.diff(written)] == [bool(change) for change in np.diff(best)]

    def test_a_failed_write_leaves_the_old_file(self, rng, tmp_path, monkeypatch):
        x, y = make_data(rng)
        path = tmp_path / "run.safetensors"
        train(make_model(), x, y, checkpoint_path=path)
        before = path.read_bytes()

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            train(make_model(), x, y, checkpoint_path=path)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]

    def test_not_a_number_raises_or_stops_with_the_last_good_weights(self, rng):
        x, y = make_data(rng)
        y[3] = np.nan
        model = make_model()
        with pytest.raises(ValueError, match=r"the loss became nan in epoch 1, batch \d"):
            train(model, x, y)
        stopped = make_model()
        history = train(stopped, x, y, callbacks=[callbacks.StopOnNaN()])
        assert history.stopped.startswith("the loss became nan in epoch 1")
        assert_same_weights(stopped, model)
        assert all(np.isfinite(value).all() for value in model.parameters.values())

    def test_a_gradient_that_is_infinite_is_told_apart_from_the_loss(self, rng):
        x, y = make_data(rng)

        def loss(prediction, target, weight=None):
            return 1.0, np.full_like(prediction, np.inf)

        with pytest.raises(ValueError, match="a gradient became NaN or infinite in epoch 1, batch 1"):
            train(make_model(), x, y, loss=loss)


class TestSchedules:
    def test_a_schedule_of_batches_moves_after_each(self, rng):
        x, y = make_data(rng)
        model = make_model()
        adam = optim.Adam(model, lr=0.1)
        schedule = optim.WarmupCosine(adam, warmup_steps=2, total_steps=9)
        seen = []

        class Note(callbacks.Callback):
            def on_batch_end(self, run):
                seen.append(run.optimizer.lr)

        history = train(model, x, y, optimizer=adam, schedule=schedule, callbacks=[Note()])
        twin = optim.Adam(model, lr=0.1)
        other = optim.WarmupCosine(twin, warmup_steps=2, total_steps=9)
        expected = []
        for _ in range(9):
            other.step()
            expected.append(twin.lr)
        assert seen == expected
        assert history["lr"] == expected[2::3]

    def test_a_plateau_lowers_the_rate(self, rng):
        x, y = make_data(rng)
        model = make_model()
        adam = optim.Adam(model, lr=0.0)
        adam.lr = 1e-30
        schedule = optim.ReduceOnPlateau(adam, factor=0.5, patience=1)
        history = train(model, x, y, optimizer=adam, schedule=schedule, batch_size=23, epochs=6)
        assert history["lr"][-1] < history["lr"][0]


class TestProgress:
    def test_lines_tell_epochs_and_nothing_goes_to_stdout(self, rng, capsys):
        x, y = make_data(rng)
        train(make_model(), x, y, progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert "epoch 3 of 3, loss" in err

    def test_silence_is_silent(self, rng, capsys):
        x, y = make_data(rng)
        train(make_model(), x, y, progress=False)
        assert capsys.readouterr() == ("", "")

    def test_the_bar_ends_where_the_epochs_end(self, capsys):
        tqdm = pytest.importorskip("tqdm").tqdm
        progress = pytest.importorskip("numrnn.training.progress")
        bar = progress.Bar(tqdm, "fit", 3, 1)
        for epoch in (2, 3):
            for batch in (1, 2):
                bar.batch(batch, 2, epoch, 0.5)
            bar.epoch(epoch, {"loss": 0.5, "lr": 0.1, "seconds": 1.0})
        assert bar._bar.n == 3
        bar.close()
        assert "loss 0.5" in capsys.readouterr().err


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "error", "text"),
        [
            ({"model": numrnn.GRU(2, 7)}, TypeError, "`model` should be a SequenceModel, got GRU"),
            ({"optimizer": "adam"}, TypeError, "`optimizer` should be an optimiser, got str 'adam'"),
            ({"optimizer": optim.Adam(make_model())}, ValueError, "`optimizer` was made for another model"),
            ({"loss": "mse"}, TypeError, "`loss` should be a function"),
            ({"epochs": -1}, ValueError, "`epochs` should be an int of 0 or more"),
            ({"batch_size": 0}, ValueError, "`batch_size` should be an int of 1 or more"),
            ({"bptt_steps": 0}, ValueError, "`bptt_steps` should be an int of 1 or more"),
            ({"max_norm": 0.0}, ValueError, "`max_norm` should be more than 0"),
            ({"progress": "yes"}, ValueError, '`progress` should be "auto", True or False'),
            ({"resume": True}, ValueError, "`resume` is True, but `checkpoint_path` is None"),
            ({"checkpoint_path": 3}, TypeError, "`checkpoint_path` should be a path"),
            (
                {"checkpoint_path": "/no/such/folder/a"},
                FileNotFoundError,
                "the folder '/no/such/folder' does not exist",
            ),
            ({"checkpoint_path": "/"}, IsADirectoryError, "is a folder"),
            ({"schedule": 0.1}, TypeError, "`schedule` should be a schedule"),
            ({"callbacks": [print]}, TypeError, "`callbacks` should hold Callbacks"),
            ({"validation": 0.2}, TypeError, "`validation` should be a tuple"),
            (
                {"validation": (np.zeros((11, 4, 3)), np.zeros((4, 1)))},
                ValueError,
                r"`validation\[0\]` has 3 features, `x` 2",
            ),
            ({"x": np.zeros((2, 3, 4, 5))}, ValueError, "`x` has 4 axes, expected 3"),
            ({"x": np.zeros((11, 0, 2)), "y": np.zeros((0, 1))}, ValueError, "`x` has no rows"),
            ({"y": np.zeros((22, 1))}, ValueError, "`y` has 22 rows, `x` 23"),
            ({"y": 1.0}, ValueError, "`y` has no axis, `x` 23"),
            ({"lengths": np.zeros(22, int)}, ValueError, r"`lengths` has dtype int64 and shape \(22,\)"),
            ({"lengths": np.full(23, 12)}, ValueError, r"`lengths\[0\]` is 12, expected 0 to 11"),
            ({"sample_weight": np.ones(22)}, ValueError, r"`sample_weight` has shape \(22,\), expected \(23,\)"),
            ({"sample_weight": -np.ones(23)}, ValueError, "`sample_weight` has entries that are negative"),
            ({"sample_weight": np.zeros(23)}, ValueError, "all of `sample_weight` is 0"),
            ({"x": [np.zeros((3, 2)), np.zeros((4, 3))]}, ValueError, r"differ in their number of features: \[2, 3\]"),
            ({"x": [np.zeros((3, 2)), np.zeros(4)]}, ValueError, r"`x\[1\]` has 1 axes, expected 2"),
            ({"x": [np.zeros((3, 2))] * 23, "lengths": np.full(23, 3)}, ValueError, "`lengths` was given with a list"),
        ],
    )
    def test_arguments_that_are_wrong(self, rng, change, error, text):
        x, y = make_data(rng)
        change = {"x": x, "y": y, **change}
        model = change.pop("model", None) or make_model()
        options = {"optimizer": optim.Adam(model)} | change
        with pytest.raises(error, match=text):
            train(model, **options)

    def test_targets_of_every_step_need_the_steps_of_x(self, rng):
        x, y = make_data(rng, "every")
        model = make_model(readout_on="every")
        with pytest.raises(ValueError, match=r"`y` has shape \(23, 11, 1\), expected \(11, 23\)"):
            train(model, x, y.swapaxes(0, 1))
        rows = [x[:5, k] for k in range(23)]
        with pytest.raises(TypeError, match="`y` should be a list of targets"):
            train(model, rows, y)
        with pytest.raises(ValueError, match=r"`y\[0\]` has shape \(4, 1\), expected 5 steps"):
            train(model, rows, [y[:4, 0]] * 23)
        with pytest.raises(ValueError, match="`x` has no steps"):
            train(model, x, y, lengths=np.zeros(23, int))

    def test_truncation_that_makes_no_sense_is_refused_with_the_reason(self, rng):
        x, y = make_data(rng)
        with pytest.raises(NotImplementedError, match="rows of different lengths do not end together"):
            train(make_model(), x, y, bptt_steps=3, lengths=rng.integers(1, 12, 23))
        with pytest.raises(NotImplementedError, match="bidirectional layer"):
            train(make_model(bidirectional=True), x, y, bptt_steps=3)

    def test_a_schedule_of_another_optimiser(self, rng):
        x, y = make_data(rng)
        model = make_model()
        schedule = optim.ReduceOnPlateau(optim.Adam(model))
        with pytest.raises(ValueError, match="`schedule` was made for another optimiser"):
            train(model, x, y, schedule=schedule)

    def test_monitors_and_counts_of_callbacks(self, rng):
        x, y = make_data(rng)
        with pytest.raises(ValueError, match="`patience` should be an int of 0 or more"):
            callbacks.EarlyStopping(patience=-1)
        with pytest.raises(ValueError, match="`min_delta` should be 0 or more"):
            callbacks.EarlyStopping(min_delta=-1.0)
        with pytest.raises(ValueError, match='`mode` should be "min" or "max"'):
            callbacks.EarlyStopping(mode="least")
        with pytest.raises(TypeError, match="`monitor` should be a name"):
            callbacks.EarlyStopping(monitor=3)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            callbacks.Checkpoint("/no/such/folder/a")
        with pytest.raises(ValueError, match=r"`monitor` 'val_loss' is not recorded"):
            train(make_model(), x, y, callbacks=[callbacks.EarlyStopping(monitor="val_loss")])

    def test_a_history_names_what_it_has(self, rng):
        x, y = make_data(rng)
        history = train(make_model(), x, y, loss=partial(losses.mse))
        assert dict(history).keys() == {"loss", "lr", "seconds"}
        assert "val_loss" not in history
        with pytest.raises(KeyError, match="'val_loss' was not recorded"):
            history["val_loss"]
