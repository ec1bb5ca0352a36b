"""Callbacks of `numrnn.fit`; a run that was interrupted goes on as if it had not been."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import numrnn
from numrnn import callbacks, losses, optim
from tests.trainings import assert_same_weights, make_data, make_model, train


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
    @pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 8])
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

    def test_checkpoint_writes_models_that_load(self, rng, tmp_path):
        x, y = make_data(rng)
        model = make_model()
        train(model, x, y, epochs=4, callbacks=[callbacks.Checkpoint(tmp_path / "{epoch}.safetensors", every=2)])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["2.safetensors", "4.safetensors"]
        assert_same_weights(model, numrnn.load(tmp_path / "4.safetensors"))

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
