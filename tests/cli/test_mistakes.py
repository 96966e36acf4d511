"""What a user gets for a mistake: one clear message, the right code, nothing left behind."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import config
from runner.foundation import options
from runner.foundation.errors import Misconfigured
from runner.foundation.files import read_yaml

SGD = "_target_: runner.components.optimizer.sgd\n"

# words on the command line, exit code, what the message must hold, the row of the matrix
MISTAKES = [
    # the command line
    ("studies", 2, "unknown command 'studies'"),
    ("resum last", 2, "unknown command 'resum'; did you mean 'resume'?"),
    ("--trsut x", 2, "unknown flag '--trsut'; did you mean '--trust'?"),
    ("show -m seed=0,1", 2, "-m belongs to train: runner -m key=value,value"),
    ("sweep seed=0,1", 2, "a sweep is runner -m key=value,value"),
    ("--dry-run", 2, "--dry-run: is about a sweep; add -m"),
    ("seed=3 --new", 2, "--new: is about a sweep; add -m"),
    ("seeds=3", 2, "seeds: belongs to a sweep; add -m"),
    ("sweep.max_jobs=3", 2, "sweep.max_jobs: belongs to a sweep; add -m"),
    ("show sweep=default", 2, "sweep: belongs to a sweep; add -m"),
    ("seeds 3", 2, "'seeds' is configuration: write seeds=3"),
    ("--seeds=3", 2, "configuration has no dashes: write seeds=3"),
    ("--seed=3", 2, "configuration has no dashes: write seed=3"),
    ("optimizer adam", 2, "'optimizer' is configuration: write optimizer=adam"),
    ("list a b", 2, "'b' is one word too many; see runner list --help"),
    ("train --nope", 2, "unknown flag '--nope'"),
    ("list optimzer", 2, "no group 'optimzer'; did you mean 'optimizer'?"),
    ("resume last", 2, "no run 'last' (no runs in outputs)"),
    ("evaluate 1432", 2, "no run '1432'"),
    ("diff a b", 2, "no run 'a'"),
    ("show optimizer=adm", 2, "did you mean 'adam'?"),
    ("--config-dir nowhere", 2, "nowhere: no such folder"),
    ("--config-name=nope", 2, "unknown flag '--config-name=nope'", "B49"),
    ("--optimizer.lr=3", 2, "configuration has no dashes: write optimizer.lr=3"),
    ("optimizer.lr 3", 2, "'optimizer.lr' is configuration: write optimizer.lr=3"),
    ("resume", 2, "the following arguments are required: DIR\n"),
    ("diff a", 2, "the following arguments are required: B\n"),
    # values and keys
    ("lrr=0.1", 2, "lrr: unknown key; did you mean 'optimizer.lr'?", "B01"),
    ("+optimizer.lrr=0.1", 2, "optimizer.lrr: unknown key; did you mean 'optimizer.lr'?", "B02"),
    ("++unknown=1", 2, "unknown: unknown key", "B02"),
    ("optimizer.lr=abc", 2, "optimizer.lr: expected a number > 0, got 'abc'", "B03"),
    ("optimizer.lr=-1", 2, "optimizer.lr: expected a number > 0, got -1", "B04"),
    ("optimizer.lr=nan", 2, "optimizer.lr: expected a number > 0, got nan", "B05"),
    ("optimizer.lr=inf", 2, "optimizer.lr: expected a number > 0, got inf", "B05"),
    ("optimizer.lr=true", 2, "optimizer.lr: expected a number > 0, got true", "B06"),
    (
        "optimizer.lr=0.1,0.2",
        2,
        "several values, '0.1,0.2'; one run takes one: add -m for a run of",
        "B08",
    ),
    ("optimizer.lr=0.1 optimizer.lr=0.2", 2, "optimizer.lr: given 2 times (0.1, 0.2)", "B09"),
    ("optimizer.lr=", 2, "optimizer.lr: missing value", "B10"),
    ("optimizer.lr=???", 2, "optimizer.lr: missing value", "B47"),
    ("name=${foo}", 2, "name: unknown interpolation ${foo}: there is no such key", "B47"),
    ("optimizer.lr=${oc.env:NOPE}", 2, "optimizer.lr: environment variable NOPE is not set", "B47"),
    ("~optimizer", 2, "optimizer: required key is missing; expected an option of optimizer", "B48"),
    ("~optimizer.lr", 2, "optimizer.lr: required key is missing; expected a number > 0", "B48"),
    ("optimizer=[[1]]", 2, "optimizer: choose one option"),
    ("optimizer.lr=0", 2, "optimizer.lr: expected a number > 0, got 0", "B07"),
    ("trainer.lr=1", 2, "trainer.lr: unknown key; did you mean 'optimizer.lr'?", "B02"),
    ("hydra.sweep.subdir=x", 2, "hydra.sweep.subdir: the runner composes by itself", "B54"),
    ("trainer.epochs=1e400", 2, "trainer.epochs: expected a whole number >= 1 or null, got inf"),
    ("seed=1e30", 2, "got 1e+30; no whole number here is larger than 2^63 - 1"),
    (f"optimizer.lr={'9' * 5000}", 2, "... (5,000 characters): too many digits"),
    ("optimizer.lr='0.1'", 2, "got '0.1'; leave out the quotes; for an environment variable $"),
    ("optimizer.lr=[", 2, "optimizer.lr: cannot read '[': character 1 ('[') is never closed"),
    ("optimizer.lr={a:1", 2, "character 1 ('{') is never closed"),
    ("optimizer.lr=1]", 2, "character 2 (']') closes nothing"),
    ("optimizer.lr='1", 2, 'character 1 ("\'") is never closed'),
    ("optimizer.lr=0.1;ls", 2, "character 4 (';') needs quotes: \"optimizer.lr='...'\""),
    ("optimizer.lr=(1,2)", 2, "a list is written optimizer.lr=[...]"),
    ("architecture.hidden=[8,]", 2, "'[8,]': a value is missing beside a comma"),
    ("optimizer.lr=$(ls)", 2, "cannot read '$(ls)': for a text quote it: \"optimizer.lr='...'\""),
    ("objective=ünï", 2, "cannot read 'ünï': character 1 ('ü') needs quotes: \"objective='...'\""),
    ("optimizer.lr=${}", 2, "cannot read '${}': an interpolation is ${key} or ${oc.env:NAME}"),
    ("name='${'", 2, "name: cannot read '${': an interpolation is ${key} or ${oc.env:NAME}", "B47"),
    ("name=${now:%S}", 2, "name: unknown interpolation ${now:...}; known are oc.env, oc.d", "B47"),
    ("name=${seed} seed=${name}", 2, "seed: interpolations go round in a circle", "B47"),
    ("name=${..seed}", 2, "name: Error resolving key '..seed'", "B47"),
    ("output_root=???", 2, "output_root: missing value; expected a text: the path of a", "B47"),
    ("optimizer={lr:0.1} optimizer.lr=0.2", 2, "optimizer.lr: given 2 times (0.1, 0.2)", "B09"),
    ("optimizer=sgd optimizer.momentum=0.9", 2, "sgd has lr; optimizer=momentum or moment", "B02"),
    (
        "dropout.keep=0.5",
        2,
        "none has no options; dropout=classic or inverted or monte_carlo",
        "B02",
    ),
    ("learning_rate=0.1", 2, "learning_rate: unknown key; did you mean 'optimizer.lr'?", "B01"),
    (
        "optimizer.wd=1",
        2,
        "optimizer.wd: unknown key; did you mean 'regularizer=weight_deca",
        "B02",
    ),
    ("bs=32 gpu=1", 2, "bs: unknown key; did you mean 'trainer.batch_size'?", "B01"),
    ("OPTIMIZER.LR=1", 2, "OPTIMIZER: unknown key; did you mean 'optimizer'?", "B01"),
    ("--config-dir ~nobody_here/x", 2, "--config-dir ~nobody_here/x: no such folder"),
    ("list --config-dir nowhere", 2, "--config-dir nowhere: no such folder"),
    ("runs output_root=~nobody_here", 2, "output_root: '~nobody_here' cannot be a folder"),
    (f"resume {'x' * 5000}", 2, "no run 'xxx"),
    (f"runs output_root={'x' * 5000}", 2, "cannot be a folder: File name too long"),
    ("optimizer=adam optimizer=sgd", 2, "optimizer: given 2 times (adam, sgd)", "B09"),
    ("regularizer=[l2,l1,l2]", 2, "regularizer: 'l2' given twice"),
    ("++", 2, "'++': not of the form key=value"),
    ("~~=1", 2, "'~~=1': not of the form key=value"),
    ("=x", 2, "'=x': not of the form key=value"),
    ("seed=1 seeds", 2, "'seeds': not of the form key=value; write seeds=..."),
    ("optimizer..lr=1", 2, "character 10 ('.') does not fit in a key"),
    ("/optimizer=adam", 2, "character 1 ('/') does not fit in a key"),
    ("architecture.hidden[0]=1", 2, "an item of a list is architecture.hidden.0=value"),
    (f"+{'a.' * 2000}b=1", 2, "nested too deeply"),
    (f"architecture.hidden={'[' * 500}{']' * 500}", 2, "nested too deeply"),
    (f"architecture.hidden={'[' * 60}{']' * 60}", 2, "nested too deeply"),
    (
        "+optimizer=adam",
        2,
        "+optimizer: each group has its options in one place; write optimizer=adam",
    ),
    ("++optimizer=adam", 2, "write optimizer=adam"),
    ("optimizer@trainer=adam", 2, "optimizer@trainer: each group has its options in one place"),
    ("optimizer=ADAM", 2, "optimizer=ADAM: no such option; did you mean 'adam'?", "B25"),
    (
        "dataset=digits,wine",
        2,
        "several values, 'digits,wine'; one run takes one: add -m for a",
        "B08",
    ),
    ("regularizer=[]", 2, "regularizer: choose one option"),
    ("~trainer", 2, "trainer: required key is missing; expected a section", "B48"),
    ("~regularizer", 2, "regularizer: required key is missing; expected options of reg", "B48"),
    ("experiment.x=1", 2, "experiment: unknown key\n"),
    ("--config-dir=", 2, "--config-dir: expected a folder, got ''"),
    ("--trust ../x", 2, "--trust '../x': expected a package's name"),
    # targets
    ("optimizer._target_=os.system", 2, "optimizer._target_: 'os.system' is not trusted"),
    ("optimizer._target_=torch.load", 2, "optimizer._target_: 'torch.load' is not trusted"),
    ("optimizer._target_=runner.components.activation.relu", 2, "is no optimizer"),
    ("loss._target_=runner.components.activation.relu", 2, "is no loss"),
    ("activation._target_=torch.nn.LeakyReLU +activation.negative_slope=abc", 2, "a number, got"),
    ("activation._target_=torch.nn.init.zeros_", 2, "is no class"),
    (
        "loss._target_=torch.nn.MSELoss",
        2,
        "is a class, and a loss a function of outputs and targets",
    ),
    (
        "activation._target_=torch.nn.Bilinear",
        2,
        "activation.in1_features: required key is missing",
    ),
    ("activation._target_=torch.nn.Module", 2, "Module is no activation, a function of single num"),
    ("optimizer._target_=1", 2, "optimizer._target_: expected a text, got 1"),
    ("optimizer._target_=torch..x", 2, "expected a dotted name such as torch.optim.Adam, got 'to"),
    (
        "initializer.gain=1e300",
        2,
        "initializer: a number of it, or what follows from it, is too la",
    ),
    ("schedule=inverse_square schedule.rate=1e300", 2, "schedule: a number of it, or what follows"),
    # the run's own keys
    ("device=gpu", 2, "device: expected a text: auto, cpu, cuda or cuda:N, got 'gpu'", "B41"),
    ("device=cuda:77", 2, "device: 'cuda:77' is not available (torch sees ", "B41"),
    ("seed=-1", 2, "seed: expected a whole number in [0, 4294967295], got -1", "B42"),
    ("seed=1.5", 2, "seed: expected a whole number", "B42"),
    ("seed=4294967296", 2, "seed: expected a whole number", "B42"),
    ("seed=true", 2, "seed: expected a whole number", "B42"),
    ("objective=valid/acc", 2, "objective: no metric 'valid/acc'; did you mean 'valid/accuracy'?"),
    ("name=../x", 2, "got '../x'; character 1 ('.') does not fit", "B46"),
    ("name=/tmp/x", 2, "character 1 ('/') does not fit", "B46"),
    ("name='[/red]'", 2, "character 1 ('[') does not fit", "B46"),
    (f"name={'x' * 300}", 2, "... (300 characters); character 81 ('x') does not fit", "B46"),
    ("name=''", 2, "name: expected a text of up to 80 letters, digits and _.,=+-", "B46"),
    ("threads=0", 2, "threads: expected a whole number in [1, 1024] or auto"),
    ("precision=float16", 2, "precision: expected one of float32, float64, bfloat16, tf32"),
    ("precision=tf32 device=cpu", 2, "precision: 'tf32' needs a CUDA device; use float32"),
    ("threads=100000", 2, "threads: expected a whole number in [1, 1024]"),
    ("experiment=nope", 2, "experiment=nope: no such option", "B49"),
    ("seed=18446744073709551616", 2, "seed: expected a whole number in [0, 4294967295]", "B42"),
    ("seed=a", 2, "seed: expected a whole number in [0, 4294967295], got 'a'", "B42"),
    ("objective=test/accuracy", 2, "objective: no metric 'test/accuracy'"),
    ("summary=2", 2, "summary: expected true or false, got 2"),
    ("name=12", 2, "got 12; for a text write \"'12'\""),
    ("seed=", 2, "seed: missing value after '='", "B10"),
    ("name=a/b", 2, "got 'a/b'; character 2 ('/') does not fit", "B46"),
    ("name='a\nb'", 2, "got 'a\\nb'; character 2 ('\\n') does not fit", "B46"),
    ("name='\x1b[31mx'", 2, "got '\\x1b[31mx'; character 1 ('\\x1b') does not fit", "B46"),
    ("name=\x1b[31mx", 2, "cannot read '\\x1b[31mx': character 1 ('\\x1b') needs quotes", "B46"),
    ("name='\u202egnp'", 2, "character 1 ('\\u202e') does not fit", "B46"),
    ("objective='\x1b[31m'", 2, "objective: no metric '\\x1b[31m'", "B46"),
    ("precision='a\nb'", 2, "got 'a\\nb'", "B46"),
    ("optimizer='\x1b[31m'", 2, "optimizer='\\x1b[31m': no such option", "B46"),
    ("optimizer._target_='\x1b[31m'", 2, "expected a dotted name such as torch.optim.Adam", "B46"),
    ("output_root=''", 2, "a text: the path of a folder, got ''; for the working directory", "B46"),
    ("output_root='a\nb'", 2, "character 2 ('\\n') does not fit", "B46"),
    ("output_root='a\0b'", 2, "character 2 ('\\x00') does not fit", "B46"),
    (
        "output_root='~nobody_here/x'",
        2,
        "output_root: expected a text: the path of a folder",
        "B46",
    ),
    ("run_dir='a\0b'", 2, "run_dir: expected the path of a folder, got 'a\\x00b'; charac", "B46"),
    ("run_dir=\x1b[31m", 2, "got '\\x1b[31m'; character 1 ('\\x1b') does not fit", "B46"),
    ("run_dir=~nobody_here/x", 2, "'~nobody_here/x'; there is no such user", "B46"),
    ("dataset=csv dataset.path='\x1b[2J' dataset.target=y", 3, "\\x1b[2J: no such file", "B46"),
    (
        f"dataset=csv dataset.path={'x' * 300} dataset.target=y",
        3,
        "xxx: cannot be read: File",
        "B46",
    ),
    ("dataset=mnist dataset.root='a\0b'", 3, "no data files in a\\x00b", "B46"),
    ("stopping=target stopping.metric='\x1b'", 2, "stopping.metric: '\\x1b' is not logged", "B46"),
    ("device=cpu:0", 2, "got 'cpu:0'; character 4 (':') does not fit", "B41"),
    # trainer
    ("trainer.epochs=2.5", 2, "whole number >= 1 or null, got 2.5; a fraction does not fit", "B11"),
    ("trainer.epochs=0", 2, "trainer.epochs: expected a whole number >= 1", "B12"),
    ("trainer.batch_size=0", 2, "trainer.batch_size: expected a whole number >= 1", "B38"),
    ("trainer.batch_size=5000", 2, "trainer.batch_size 5000 is more than the 1079 rows"),
    ("trainer.epochs=null", 2, "trainer: one of epochs, steps, samples and minutes must be set"),
    ("trainer.epochs=1 trainer.steps=40", 2, "give one of them, not both"),
    ("trainer.steps=3 trainer.samples=9", 2, "give one of them, not both"),
    ("trainer.epochs=-1", 2, "trainer.epochs: expected a whole number >= 1 or null, got -1", "B12"),
    ("trainer.steps=0", 2, "trainer.steps: expected a whole number >= 1 or null, got 0", "B12"),
    ("trainer.samples=0", 2, "trainer.samples: expected a whole number >= 1 or null, got 0", "B12"),
    ("trainer.minutes=12:30", 2, "trainer.minutes: expected a number > 0 or null, got '12:30'"),
    (
        "trainer.batch_size=2.5",
        2,
        "trainer.batch_size: expected a whole number >= 1, got 2.5",
        "B11",
    ),
    ("trainer.accumulate=0", 2, "trainer.accumulate: expected a whole number >= 1, got 0"),
    ("trainer.log_every=5", 2, "trainer.log_every: expected a duration such as 200steps"),
    ("trainer.evaluate_every=200%", 2, "trainer.evaluate_every: expected a duration"),
    ("trainer=[quick,default]", 2, "trainer: choose one option (trainer has default, quick)"),
    ("trainer.batch_size=-1", 2, "trainer.batch_size: expected a whole number >= 1, got -1", "B38"),
    ("trainer=null", 2, "trainer: choose one option (trainer has default, quick)"),
    # dataset
    ("dataset.valid=0.9", 2, "0.9 + 0.2 = 1.1", "B39"),
    (
        "dataset=wine dataset.valid=0.001",
        2,
        "dataset.valid: a share of 0.001 of 178 rows is",
        "B39",
    ),
    ("dataset.test=null", 2, "dataset.test: expected a share of the rows"),
    ("dataset=mnistt", 2, "dataset=mnistt: no such option; did you mean 'mnist'?", "B40"),
    ("dataset=mnist dataset.root=nowhere", 3, "no data files in nowhere", "B40"),
    ("dataset=cifar10 dataset.root=nowhere", 3, "no data files in nowhere"),
    ("dataset=[digits,wine]", 2, "dataset: choose one option"),
    ("dataset=csv", 2, "dataset.path: missing value; expected a text", "B40"),
    (
        "dataset=csv dataset.path=nowhere.csv dataset.target=y",
        3,
        "nowhere.csv: no such file",
        "B40",
    ),
    ("dataset=image_folder", 2, "dataset.root: missing value", "B40"),
    (
        "dataset=image_folder dataset.root=nowhere",
        3,
        "expected a folder with one folder a class",
        "B40",
    ),
    ("dataset=image_folder dataset.root=. dataset.channels=2", 2, "expected one of 1, 3, got 2"),
    ("dataset=cifar100 dataset.root=nowhere", 3, "CIFAR100: no data files in nowhere"),
    ("dataset.valid=null", 2, "dataset.valid: expected a share of the rows"),
    ("dataset.subset=0", 2, "dataset.subset: expected a number in (0, 1] or a whole number >= 2"),
    ("dataset.subset=5000", 2, "dataset.subset: expected 1 to 1079 training rows, got 5000"),
    ("dataset.balance=0.5", 2, "dataset.balance: expected a number >= 1 or a list"),
    ("dataset=wine dataset.balance=[1,2]", 2, "dataset.balance: expected a number for each"),
    ("dataset.label_noise=1.5", 2, "dataset.label_noise: expected a number in [0, 1], got 1.5"),
    ("dataset=diabetes loss=mse dataset.label_noise=0.1", 2, "dataset.label_noise: expected 0, as"),
    ("dataset=diabetes loss=mse dataset.balance=2", 2, "dataset.balance: expected null"),
    ("dataset=quadrants dataset.samples=0", 2, "dataset.samples: expected a whole number >= 1"),
    ("dataset=spoiler dataset.spoiler=points", 2, "did you mean 'point'?"),
    ("dataset=spirals dataset.arms=1", 2, "dataset.arms: expected a whole number >= 2, got 1"),
    ("dataset=mnist1d dataset.valid=0.1 dataset.test=0.2", 2, "dataset.test: expected null, as"),
    (
        "dataset=correlated_columns loss=mse dataset.label_noise=0.1",
        2,
        "dataset.label_noise: expected 0",
    ),
    ("dataset=shifted_minibatches dataset.scale=[3,0.2]", 2, "scale: expected the smaller"),
    ("dataset=wine dataset.valid=0.99 dataset.test=0.01", 2, "leaves no training rows", "B39"),
    ("dataset=wine dataset.valid=1.0", 2, "dataset.valid: expected a number in [0, 1)"),
    ("dataset=mnist dataset.root=null", 2, "dataset.root: expected a text, got null"),
    ("dataset.root=x", 2, "dataset.root: unknown key; digits has seed, valid"),
    ("dataset=moons dataset.samples=1e14", 2, "dataset: "),
    ("dataset=least_squares dataset.condition=0.5", 2, "dataset.condition: expected a number"),
    (
        "dataset=least_squares dataset.samples=10 dataset.condition=3",
        2,
        "more samples than features",
    ),
    (
        "dataset=elongated_quadratic loss=mse dataset.curvatures=[]",
        2,
        "curvatures: expected at least one number",
    ),
    ("dataset=csv dataset.path=. dataset.target=y", 3, "expected a file, found a folder", "B40"),
    ("dataset=image_folder dataset.root=/dev/null", 3, "found a file", "B40"),
    # sampler
    ("sampler=disjoint_chop sampler.part=5", 2, "sampler: part 5 of 5: expected 0 to 4"),
    # preprocessing
    ("dataset=wine preprocessing.per=channel", 2, "per=channel needs images"),
    ("dataset=wine preprocessing=channel_mean", 2, "per=channel needs images or signals"),
    ("preprocessing=pca preprocessing.components=100", 2, "components=100 of 64 inputs"),
    (
        "preprocessing=pca preprocessing.components=3 preprocessing.variance=0.9",
        2,
        "set one to null",
    ),
    ("preprocessing=min_max preprocessing.low=2", 2, "low < high is needed, got low=2 and high=1"),
    ("preprocessing=pca preprocessing.variance=1.5", 2, "expected a number in (0, 1] or null"),
    ("preprocessing=zca preprocessing.eps=-1", 2, "eps: expected a number >= 0, got -1"),
    # augmentation
    ("dataset=wine augmentation=flip_crop", 2, "flip_crop needs images"),
    ("dataset=wine augmentation=rotate", 2, "got samples of shape (13,); use noise or mixup"),
    ("augmentation=cutmxi", 2, "did you mean 'cutmix'"),
    ("augmentation=mixup augmentation.mixup.alpha=0", 2, "augmentation.mixup.alpha: expected"),
    (
        "dataset=wine augmentation=noise trainer.batch_size=1",
        2,
        "needs batches of 2 rows or more, got 1",
    ),
    (
        "augmentation=flip augmentation.flip.probability=1.5",
        2,
        "expected a number in [0, 1], got 1.5",
    ),
    ("augmentation=scale augmentation.scale.factor=0.5", 2, "expected a number >= 1, got 0.5"),
    ("augmentation=noise augmentation.noise.strength=-1", 2, "expected a number >= 0, got -1"),
    ("augmentation.mixup.alpha=1", 2, "choose it: augmentation=mixup"),
    # architecture
    ("architecture.hidden=[-5]", 2, "architecture.hidden[0]: expected a whole number >= 1", "B31"),
    ("architecture.hidden=64", 2, "architecture.hidden: expected a list", "B31"),
    ("architecture.hidden=[64,a]", 2, "architecture.hidden[1]: expected a whole number", "B31"),
    ("dataset=wine architecture=cnn", 2, "architecture: cnn needs images", "B34"),
    ("architecture=cnn preprocessing=pca", 2, "got (64,)", "B34"),
    ("architecture.hidden=[]", 2, "hidden=[] leaves no hidden layer", "B31"),
    ("architecture.activations=[relu]", 2, "activations names 1 for 2 hidden layers"),
    (
        "architecture.activations=[rellu,relu]",
        2,
        "no such option; did you mean 'relu'? (elu, ",
        "B25",
    ),
    (
        "architecture.residual=true architecture.hidden=[8,4]",
        2,
        "layers 1 and 2 of hidden are 8 and 4 wide",
    ),
    (
        "architecture.residual=true architecture.hidden=[8,8,8]",
        2,
        "residual blocks are of two layers each, and hidden has 3",
    ),
    ("architecture=cnn architecture.kernel=30", 2, "stage 1, convolution 1: a kernel of 30", "B34"),
    ("architecture=cnn architecture.channels=[]", 2, "channels=[] leaves no stage"),
    ("architecture=vit architecture.patch=3", 2, "use architecture.patch=1, 2, 4 or 8"),
    ("architecture=vit architecture.heads=5", 2, "use architecture.heads=1, 2, 4, 8,"),
    ("architecture=cubic", 2, "powers are of a single input, and a sample has 64"),
    (
        "architecture=torchvision architecture.name=resnet19",
        2,
        "did you mean 'resnet18'? (alexnet, ",
    ),
    (
        "architecture=torchvision architecture.name=vit_b_16",
        2,
        "vit_b_16 cannot take images of 8 x 8",
    ),
    (
        "architecture.hidden=[0]",
        2,
        "architecture.hidden[0]: expected a whole number >= 1, got 0",
        "B31",
    ),
    ("architecture.hidden=[012]", 2, "architecture.hidden[0]: expected a whole number >= 1"),
    ("architecture.hidden=[1e13]", 2, "architecture: 2,560,000.0 GB for layer Linear("),
    (
        "architecture.classes=5",
        2,
        "architecture.classes: unknown key; mlp has hidden, activations",
        "B33",
    ),
    ("architecture=vit dataset=wine", 2, "architecture: vit needs images"),
    # activation
    ("activation=rellu", 2, "activation=rellu: no such option; did you mean 'relu'?", "B25"),
    (
        "activation=maxout activation.pieces=0",
        2,
        "activation.pieces: expected a whole number",
        "B26",
    ),
    ("activation=elu activation.alpha=-1", 2, "activation.alpha: expected a number > 0, got -1"),
    (
        "activation=maxout activation.pieces=1.5",
        2,
        "activation.pieces: expected a whole number",
        "B26",
    ),
    ("activation=no", 2, "activation=no: no such option (activation has elu, "),
    # output
    ("output=softmx", 2, "output=softmx: no such option; did you mean 'softmax'?"),
    ("output.nope=1", 2, "output.nope: unknown key; identity has no options"),
    # normalization
    ("normalization=batch trainer.batch_size=1", 2, "1 sample, use trainer.batch_size >= 2", "B29"),
    ("normalization=batch trainer.batch_size=154 trainer.drop_last=false", 2, "1 sample", "B29"),
    ("normalization=batch normalization.momentum=2", 2, "normalization.momentum: expected", "B30"),
    (
        "normalization=group normalization.groups=3",
        2,
        "unit 0, Linear(in_features=64, out_features=128, bias=True): 3 groups",
        "B27",
    ),
    ("normalization=group normalization.groups=0", 2, "normalization.groups: expected", "B27"),
    ("normalization=instance", 2, "the output would be constant 0", "B28"),
    ("normalization=batch normalization.layers=[9]", 2, "no unit 9; the model has units 0 to 1"),
    ("normalization=batch normalization.layers=first", 2, "normalization.layers: expected"),
    ("normalization=weight normalization.position=after", 2, "stands nowhere"),
    ("normalization=batch sampler=single", 2, "the smallest batch has 1 sample", "B29"),
    (
        "normalization=batch trainer.batch_size=2 trainer.accumulate=2",
        2,
        "smallest of 2 parts",
        "B29",
    ),
    ("normalization=batch_whitening trainer.batch_size=1", 2, "batch whitening needs two samples"),
    (
        "normalization=group normalization.groups=128",
        2,
        "groups of a single number (128 of 128)",
        "B28",
    ),
    # dropout
    ("dropout=inverted dropout.keep=1.5", 2, "dropout.keep: expected a number in (0, 1]", "B32"),
    ("dropout=inverted dropout.keep=0", 2, "dropout.keep: expected a number in (0, 1]", "B32"),
    ("dropout=inverted dropout.average=all", 2, "dropout.average: expected"),
    ("dropout=inverted dropout.average=exhaustive trainer=quick", 2, "units are the most"),
    # initializer
    ("initializer=xavier", 2, "glorot_normal", "B35"),
    ("initializer=fixup", 2, "no residual branches; use architecture=resnet"),
    ("initializer=kaiming_normal initializer.fan=both", 2, "initializer.fan: expected one of in"),
    ("initializer=normal initializer.std=-1", 2, "initializer.std: expected a number >= 0", "B35"),
    ("initializer=data_dependent activation=sign", 2, "no gradient reaches the layer"),
    ("initializer=zeros normalization=weight", 2, "a row of zeros"),
    # loss
    ("loss=mse", 2, "loss 'mse' needs float targets of shape (N, 10), got class labels", "B37"),
    ("dataset=diabetes", 2, "loss 'cross_entropy' needs class labels", "B37"),
    ("loss=hing", 2, "loss=hing: no such option; did you mean 'hinge'?"),
    ("loss.alpha=0.1 loss.eps=0.01", 2, "eps=0.01 and alpha=0.1 both smooth the labels"),
    ("loss.eps=0.2", 2, "use loss.eps <= 0.1, or loss.alpha=0.2", "B36"),
    ("loss.alpha=1.5", 2, "loss.alpha: expected a number in [0, 1] or null, got 1.5", "B36"),
    ("loss.smoothing=0.1", 2, "loss.smoothing: unknown key; cross_entropy has eps, alpha"),
    ("dataset=diabetes loss=mse loss.one_hot=true", 2, "loss.one_hot: is for classes"),
    ("loss=bce", 2, "needs exactly 2 classes, the data has 10; use loss=cross_entropy", "B37"),
    ("loss=bce_probabilities dataset=moons", 2, "the model gives scores; use output=sigmoid"),
    ("loss=bce_probabilities dataset=moons output=softmax", 2, "always 1; use output=sigmoid"),
    ("loss=hinge dataset=diabetes", 2, "loss 'hinge' needs class labels"),
    ("loss=hinge loss.margin=0", 2, "loss.margin: expected a number > 0, got 0"),
    ("loss=huber loss.delta=0 dataset=diabetes", 2, "loss.delta: expected a number > 0, got 0"),
    ("loss=hinge augmentation=mixup", 2, "mixes samples (mixup, cutmix) use loss=cross_entropy"),
    ("dataset=diabetes loss=mse output=sigmoid", 2, "a regression has not; use output=identity"),
    ("loss.eps=-1", 2, "loss.eps: expected a number in [0, 1), got -1", "B36"),
    ("loss=kl dataset=diabetes", 2, "loss 'kl' needs class labels; for regression use loss=mse"),
    ("loss=zero_one", 2, "it is a metric, metrics=error"),
    # metrics
    ("metrics=topk", 2, "metrics=topk: no such option; did you mean 'top_k'?"),
    ("dataset=wine metrics=top_k", 2, "metrics.top_k: k=5 of 3 classes; use metrics.top_k.k <= 3"),
    ("dataset=diabetes loss=mse metrics=error", 2, "the data has numbers; use metrics=standard"),
    ("loss.weight=[1,2]", 2, "loss.weight: unknown key; cross_entropy has eps, alpha", "B36"),
    # regularizer
    ("regularizer=l2 regularizer.l2.strength=-1", 2, "regularizer.l2.strength: expected", "B20"),
    ("regularizer=lp_norm regularizer.lp_norm.p=0.5", 2, "regularizer.lp_norm.p: expected"),
    ("regularizer=weight_decay regularizer.weight_decay.strength=-1", 2, "a number >= 0", "B20"),
    ("regularizer=max_norm regularizer.max_norm.limit=0", 2, "regularizer.max_norm.limit:"),
    ("regularizer=[l1,l3]", 2, "regularizer=l3: no such option"),
    ("regularizer.l1.strength=1", 2, "regularizer.l1: expected a node with _target_"),
    # optimizer
    (
        "optimizer.momentum=1.5",
        2,
        "optimizer.momentum: expected a number in [0, 1), got 1.5",
        "B13",
    ),
    ("optimizer.nesterov=true optimizer.momentum=0", 2, "nesterov=true needs momentum > 0", "B14"),
    ("optimizer=adam optimizer.betas=[0.9]", 2, "optimizer.betas: expected a list of 2", "B15"),
    ("optimizer=adam optimizer.betas=[0.9,1.0]", 2, "optimizer.betas[1]: expected a number", "B15"),
    ("optimizer=adam optimizer.eps=0", 2, "optimizer.eps: expected a number > 0", "B16"),
    ("optimizer.lr=1e30", 4, "the training loss became"),
    (
        "optimizer=adamw optimizer.betas=[0.9,1.0]",
        2,
        "optimizer.betas[1]: expected a number",
        "B15",
    ),
    ("optimizer=adamw optimizer.weight_decay=-1", 2, "optimizer.weight_decay: expected", "B20"),
    (
        "optimizer=rmsprop optimizer.alpha=1.5",
        2,
        "optimizer.alpha: expected a number in [0, 1)",
        "B16",
    ),
    (
        "optimizer=lbfgs optimizer.history=0",
        2,
        "optimizer.history: expected a whole number >= 1",
        "B16",
    ),
    (
        "optimizer=rprop optimizer.shrink=1.2 optimizer.grow=0.5",
        2,
        "expected a number in (0, 1), got 1.2",
        "B17",
    ),
    (
        "optimizer=rprop optimizer.smallest=2 optimizer.largest=1",
        2,
        "optimizer: needs smallest <= largest",
        "B17",
    ),
    ("optimizer=lbfgs clipping=norm", 2, "clipping: optimizer 'lbfgs' takes its own steps", "B52"),
    (
        "optimizer=lbfgs trainer.accumulate=2",
        2,
        "optimizer 'lbfgs' needs whole batches; use 1",
        "B52",
    ),
    ("optimizer=newton", 2, "one equation for each of 26,122 parameters, and takes at most 4,000"),
    (
        "optimizer=sgd optimizer._target_=torch.optim.Adam +optimizer.betas=[0]",
        2,
        "be made with lr=0.1",
    ),
    ("optimizer=sgd optimizer._target_=torch.optim.SparseAdam", 2, "use optimizer=adam"),
    ("optimizer=sgd optimizer._target_=torch.optim.Muon", 2, "Muon only supports 2D parameters"),
    ("optimizer=shampoo", 2, "muon is its cheap relative"),
    ("optimizer=rmsprop optimizer.eps=0", 2, "optimizer.eps: expected a number > 0, got 0", "B16"),
    # clipping
    (
        "clipping=norm clipping.norm.limit=-1",
        2,
        "clipping.norm.limit: expected a number > 0",
        "B43",
    ),
    ("optimizer=backtracking clipping=value", 2, "clipping: optimizer 'backtracking' takes", "B52"),
    ("clipping.norm.limit=1", 2, "choose it: clipping=norm"),
    (
        "clipping=norm clipping.limit=1",
        2,
        "clipping.limit: unknown key; did you mean 'clipping.norm",
    ),
    (
        "dropout=0.5",
        2,
        "dropout: expected an option (classic, inverted, monte_carlo, none, spatial)",
    ),
    ("normalization=weight regularizer=l2", 2, "shrinking a direction changes nothing", "B52"),
    ("normalization=batch regularizer=jacobian", 2, "samples see each other", "B52"),
    ("dropout=spatial", 2, "there are no channels; use dropout=inverted"),
    ("schedule=plateau schedule.metric=valid/accuracy", 2, "use schedule.better=higher", "B44"),
    (
        "clipping=norm clipping.norm.limit=0",
        2,
        "clipping.norm.limit: expected a number > 0, got 0",
        "B43",
    ),
    # schedule
    ("schedule=cosine_restarts schedule.period=0steps", 2, "it must be longer than nothing", "B22"),
    ("schedule=multi_step schedule.milestones=[0steps]", 2, "schedule.milestones[0]:", "B21"),
    ("schedule=staircase schedule.factor=1.5", 2, "a number in (0, 1], got 1.5", "B21"),
    (
        "schedule.warmup=500steps trainer.steps=200",
        2,
        "schedule: warmup 500 >= total 200 steps",
        "B23",
    ),
    ("trainer.epochs=null trainer.minutes=1", 2, "schedule: cosine needs an end"),
    ("schedule=step", 2, "schedule=step: no such option; not here: a cut after every"),
    ("schedule=staircase schedule.every=0steps", 2, "schedule.every: expected a duration", "B21"),
    (
        "schedule=staircase schedule.factor=-1",
        2,
        "schedule.factor: expected a number in (0, 1]",
        "B21",
    ),
    ("schedule=multi_step schedule.milestones=[9epochs,2epochs]", 2, "=[32steps,144steps]", "B21"),
    ("schedule=multi_step schedule.milestones=9epochs", 2, "schedule.milestones: expected a list"),
    ("schedule=inverse_time schedule.rate=0", 2, "schedule.rate: expected a number > 0"),
    ("schedule=one_cycle schedule.total=9", 2, "schedule.total: unknown key", "B24"),
    (
        "schedule=one_cycle schedule.rise=90% schedule.warmup=30%",
        2,
        "schedule: rise 288 > 224",
        "B23",
    ),
    ("schedule=one_cycle trainer.epochs=null trainer.minutes=1", 2, "30% of what? give trainer"),
    ("schedule=cyclic schedule.period=1steps", 2, "schedule: period 1: a cycle needs at least 2"),
    ("schedule=plateau schedule.better=higher", 2, "schedule: the objective is turned so that"),
    ("schedule=plateau schedule.metric=valid/acuracy", 2, "did you mean 'valid/accuracy'?"),
    ("schedule=linear trainer.epochs=null trainer.minutes=1", 2, "schedule: linear needs an end"),
    ("schedule=cosine schedule.total=0", 2, "schedule.total: unknown key; cosine has", "B22"),
    ("schedule.every=5steps", 2, "schedule.every: unknown key; cosine has floor, warmup"),
    # averaging
    ("averaging=ema averaging.decay=1", 2, "averaging.decay: expected a number in [0, 1)"),
    ("averaging=swa averaging.start=200%", 2, "averaging.start: expected a duration"),
    ("averaging=swa schedule=constant trainer.epochs=null trainer.minutes=1", 2, "75% of what?"),
    ("averaging=swaa", 2, "averaging=swaa: no such option; did you mean 'swa'?"),
    # stopping
    (
        "stopping=early stopping.patience=0",
        2,
        "stopping.patience: expected a whole number >= 1",
        "B45",
    ),
    ("stopping=early dataset.valid=0", 2, "stopping: needs validation rows", "B44"),
    ("stopping=target stopping.metric=valid/acuracy", 2, "did you mean 'valid/accuracy'?", "B44"),
    ("stopping=loss_change stopping.metric=nothing trainer=quick", 2, "(logged are "),
    ("stopping=target stopping.direction=above", 2, "stopping.direction: expected one of at_least"),
    ("stopping=loss_change stopping.tolerance=0", 2, "stopping.tolerance: expected a number > 0"),
    (
        "stopping=early dataset.valid=0 objective=valid/loss",
        2,
        "objective: no metric 'valid/loss'; did you mean 'train/loss'?",
    ),
    ("stopping=target dataset.valid=0", 2, "is not logged; did you mean 'train/accuracy'?", "B44"),
    ("dataset=diabetes loss=mse stopping=target", 2, "stopping.metric: 'valid/accuracy'"),
    ("stopping=early stopping.mode=min", 2, "stopping.mode: unknown key; early has"),
    (
        "stopping=early stopping.patience=-1",
        2,
        "stopping.patience: expected a whole number >= 1",
        "B45",
    ),
    ("stopping=early stopping.min_epochs=99", 2, "stopping.min_epochs: unknown key; early", "B45"),
    (
        "stopping=early stopping.min_delta=-1",
        2,
        "stopping.min_delta: expected a number >= 0",
        "B45",
    ),
    # hooks
    ("hooks=null", 2, "hooks: choose one option"),
    ("hooks=[weight_norm,nope]", 2, "hooks=nope: no such option"),
    ("hooks=nope", 2, "hooks=nope: no such option"),
    # sweeps
    (
        "-m seed=range(1000) optimizer.lr=linspace(0.1,1,1000)",
        2,
        "1,000,000 jobs, more than sw",
        "B53",
    ),
    ("-m seed=range(0)", 2, "seed: range(0) has no values", "B53"),
    ("-m seed=3", 2, "-m: nothing is swept; give a key several values", "B53"),
    ("-m seeds=0", 2, "seeds: expected a whole number in [1, 100000], got 0", "B53"),
    ("-m optimizer.lr=0.1,,0.2", 2, "a value is missing beside a comma", "B53"),
    ("-m hydra.sweep.subdir=x seeds=2", 2, "hydra.sweep.subdir: the runner composes by", "B54"),
    ("-m hydra.sweep.dir=x seeds=2", 2, "hydra.sweep.dir: the runner composes by itself", "B54"),
    ("-m name=../x seeds=2", 2, "character 1 ('.') does not fit", "B46"),
    ("-m name=last seeds=2", 2, "name: 'last' means the newest run; choose another", "B46"),
]


def rows(table: list[tuple], columns: int) -> list:
    """Return what pytest takes, each row called by its number in the matrix and its words."""
    return [pytest.param(*row[:columns], id=ascii(" ".join([*row[columns:], row[0][:60]]))[1:-1])
            for row in table]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "message"), rows(MISTAKES, 3))
def test_a_mistake(runner, line: str, code: int, message: str) -> None:
    done = runner(*line.split(" "))
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err + done.out
    assert all(letter.isprintable() or letter == "\n" for letter in done.err + done.out)
    if code != 4:
        made = [path.name for folder in (Path(), Path("..")) for path in folder.iterdir()]
        assert made == ["here"], "nothing is made before everything is right"


FLOWERS = """\
length,width,species
5.1,3.5,setosa
4.9,3.0,setosa
7.0,3.2,versicolor
6.4,,versicolor
6.3,3.3,virginica
5.8,2.7,virginica
"""

# words behind dataset=csv dataset.path=flowers.csv dataset.target=species, exit code, message
FILES = [
    ("", 3, "flowers.csv: line 5, column 'width': no value (1 of 6 rows lack a value)"),
    ("dataset.task=classify", 2, "dataset.task: expected one of auto, classification, regression"),
    ("dataset.task=regression dataset.missing=drop", 3, "'setosa' is no finite number"),
    ("dataset.features=[length,species]", 2, "dataset.features: 'species' is the target"),
    ("dataset.features=[lenght]", 2, "no column 'lenght'"),
    ("dataset.features=[]", 2, "dataset.features: no column"),
    ("dataset.delimiter=tab", 2, "length,width,species; is dataset.delimiter=tab right?"),
    ("dataset.encoding=utf-9", 2, "dataset.encoding: expected one of utf-8"),
    ("dataset.missing=drop dataset.valid=0.1", 2, "a share of 0.1 of 5 rows is empty"),
    ("dataset.missing=drop loss=mse", 2, "loss 'mse' needs float targets of shape (N, 3)"),
]


@pytest.mark.parametrize(
    ("line", "code", "message"), FILES, ids=[m[0] or "as it is" for m in FILES]
)
def test_a_mistake_about_a_file(runner, line: str, code: int, message: str) -> None:
    Path("flowers.csv").write_text(FLOWERS)
    words = ["dataset=csv", "dataset.path=flowers.csv", "dataset.target=species", *line.split()]
    done = runner(*words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in Path().iterdir()] == ["flowers.csv"]


def test_a_misspelt_column_or_file_is_told_the_nearest(runner) -> None:
    Path("flowers.csv").write_text(FLOWERS)
    column = runner("dataset=csv", "dataset.path=flowers.csv", "dataset.target=specie")
    assert column.code == 2
    assert "dataset.target: no column 'specie'" in column.err
    assert "did you mean 'species'?" in column.err
    file = runner("dataset=csv", "dataset.path=flower.csv", "dataset.target=species")
    assert file.code == 3
    assert "flower.csv: no such file; did you mean 'flowers.csv'?" in file.err


# what runs but is hardly meant, and the warning
WARNED = [
    ("optimizer=rprop", "optimizer 'rprop' is made for full batches; use sampler=full", "B18"),
    ("optimizer=lbfgs", "optimizer 'lbfgs' is made for full batches; use sampler=full", "B18"),
    ("optimizer=newton architecture.hidden=[4]", "use sampler=full_batch", "B18"),
    ("output=softmax", "double softmax: loss 'cross_entropy' turns scores into probabilit", "B52"),
    ("normalization=batch trainer.accumulate=2", "batch statistics are taken of each part", "B52"),
    (
        "normalization=batch optimizer=lbfgs sampler=full_batch",
        "runs the model several times",
        "B52",
    ),
    (
        "stopping=target stopping.direction=at_most",
        "'valid/accuracy' is better when higher, and at_most ends training while it is bad",
        "B44",
    ),
    (
        "stopping=target stopping.metric=valid/loss stopping.value=99",
        "stopping.direction=at_most waits until it is good",
        "B44",
    ),
    ("architecture=linear dropout=inverted", "architecture 'linear' has none of the runner's"),
    (
        "averaging=swa stopping=target stopping.metric=train/loss stopping.direction=at_most "
        "stopping.value=9",
        "no weights were averaged",
    ),
]


@pytest.mark.parametrize(("line", "message"), rows(WARNED, 2))
def test_a_warning(runner, line: str, message: str) -> None:
    done = runner(*line.split(), "trainer=quick")
    assert done.code == 0, done.err
    (warning,) = [each for each in done.out.splitlines() if each.startswith("warning: ")]
    assert message in warning


def test_a_warning_heeded_is_gone(runner) -> None:
    """B18: with full batches there is nothing to warn of."""
    done = runner("optimizer=rprop", "sampler=full_batch", "trainer=quick")
    assert (done.code, "warning: " in done.out) == (0, False)


def test_a_typed_budget_stands_instead_of_any_other(runner) -> None:
    assert "train   48 steps" in runner("trainer=quick", "trainer.epochs=3").out
    assert "train   2 steps" in runner("trainer=quick", "trainer.samples=100").out


def test_whole_numbers_may_be_written_as_floats(runner) -> None:
    """B11: 1e3 is a thousand."""
    done = runner("trainer=quick", "trainer.steps=2e0", "trainer.batch_size=3.2e1", "name=whole")
    assert (done.code, "train   2 steps" in done.out) == (0, True)
    (run,) = Path("outputs/default").iterdir()
    assert json.loads((run / "summary.json").read_text())["steps"] == 2


def numbers(content: dict, path: tuple = ()) -> Iterator[tuple]:
    """Yield the place of every number in an option's file, those in lists too."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, dict | list):
            yield from numbers(value, (*path, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key)


def wrong_numbers(group: str) -> list[object]:
    """Return what no number of a group may be; none of an optimizer's is below 0."""
    return [math.nan, math.inf, -math.inf, "abc", True, *([-1e-9] if group == "optimizer" else [])]


@pytest.mark.parametrize("group", sorted(set(options.groups([options.own_folder()])) - {
    "experiment", "sweep", "trainer"}))  # fmt: skip
def test_no_number_of_any_option_is_without_a_range(group: str) -> None:
    """B05, B06, B16: nan, inf, texts and booleans are refused by every hyperparameter."""
    for option, path in options.groups([options.own_folder()])[group].items():
        whole = read_yaml(path)
        for name, node in {group: whole}.items() if "_target_" in whole else whole.items():
            for place in numbers(node):
                for wrong in wrong_numbers(group):
                    changed = copy.deepcopy(node)
                    inside = functools.reduce(lambda each, part: each[part], place[:-1], changed)
                    inside[place[-1]] = wrong
                    with pytest.raises(Misconfigured) as caught:
                        config.check_node(changed, name, group)
                    (problem,) = [each for each in caught.value.problems if "got" in each]
                    assert problem.startswith(f"{name}.{place[0]}"), (option, place, wrong)


BROKEN = [
    ("lr: 1\nlr: 2\n", "mine.yaml:2: duplicate key 'lr' (first at line 1)", "B50"),
    ("a:\n\tb: 1\n", "mine.yaml:2: a tab; YAML indents with spaces", "B50"),
    ("lr: 1\n  momentum: 0\n", "mine.yaml:2: a key where none may stand", "B50"),
    ("# caf\xe9\n", "mine.yaml:1: not UTF-8: the byte 0xe9; save the file as UTF-8", "B50"),
    ("a: !!python/object/apply:os.system [touch x]\n", "mine.yaml:1: the tag !!python/obj", "B50"),
    ("", "mine.yaml: the file says nothing", "B50"),
    (f"{SGD}lr: no\n", "optimizer.lr: expected a number > 0, got false", "B51"),
    (f"{SGD}lr: 012\n", "mine.yaml:2: YAML reads 012 as 10; write 10, or quote it: '012'", "B51"),
    (f"{SGD}lr: 12:30:45\n", "YAML reads 12:30:45 as 45045; write 45045, or quote it", "B51"),
    (f"{SGD}lr: '1'\n", "optimizer.lr: expected a number > 0, got '1'; leave out the quot", "B51"),
    (f"{SGD}lr: ${{oc.env:NOPE}}\n", "optimizer.lr: environment variable NOPE is not set", "B47"),
    (f"{SGD}lr: ${{nope}}\n", "optimizer.lr: unknown interpolation ${nope}", "B47"),
]


EXPERIMENT = "# @package _global_\n# Mine.\n"

# the same of an experiment: yes, no, on, off and numbers where a text is meant
UNQUOTED = [
    ("objective: no", "objective: expected a text, got false; YAML takes yes, no, on and", "B51"),
    ("architecture: {activations: [no, relu]}", "activations[0]: expected a text: an opt", "B51"),
    ("name: 2024", "name: expected a text of up to 80 letters, digits and _.,=+- or null", "B51"),
    ("dataset: {root: yes}", "dataset.root: unknown key; digits has seed, valid", "B51"),
    ("defaults: [override /dataset: mnist]\ndataset: {root: off}", "root: expected a text", "B51"),
    ("trainer: {batch_size: 1e1000}", "trainer.batch_size: expected a whole number >= 1", "B51"),
]
OWN = [
    *(("optimizer", *row) for row in BROKEN),
    *(("experiment", f"{EXPERIMENT}{text}\n", *row) for text, *row in UNQUOTED),
]


@pytest.mark.parametrize(("group", "content", "message"), [
    pytest.param(*row[:3], id=ascii(f"{row[3]} {row[1].removeprefix(EXPERIMENT)[:60]}")[1:-1])
    for row in OWN])  # fmt: skip
def test_a_mistake_in_an_option_of_the_users_own(
    runner, tmp_path: Path, group: str, content: str, message: str
) -> None:
    """B50, B51: the file and the line, or the key and how it is to be quoted."""
    (tmp_path / "options" / group).mkdir(parents=True)
    (tmp_path / "options" / group / "mine.yaml").write_bytes(content.encode("latin-1"))
    done = runner(f"{group}=mine", "--config-dir", str(tmp_path / "options"))
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert list(Path().iterdir()) == []


def test_all_mistakes_at_once(runner) -> None:
    done = runner("optimizer.lrr=1", "optimizer.momentum=2", "activation=rellu")
    assert done.code == 2
    assert "3 mistakes, nothing was run:" in done.err
    assert "optimizer.lrr: unknown key; did you mean 'optimizer.lr'?" in done.err
    assert "optimizer.momentum: expected a number in [0, 1), got 2" in done.err
    assert "activation=rellu: no such option; did you mean 'relu'?" in done.err


def test_a_defaults_file_may_set_machine_things_only(
    runner, tmp_path: Path, defaults_file: Path
) -> None:
    defaults_file.write_text("optimizer: {lr: 3}\nthreads: 1\n")
    done = runner("trainer=quick")
    assert done.code == 2
    assert "'optimizer.lr' cannot be set here" in done.err
    defaults_file.write_text(f"output_root: {tmp_path}/elsewhere\nthreads: 1\n")
    assert runner("trainer=quick").code == 0
    assert len(list((tmp_path / "elsewhere/default").iterdir())) == 1
    assert "1 thread," in runner("trainer=quick").out
    assert "elsewhere" in runner("env").out


def test_diverging_keeps_the_record(runner) -> None:
    done = runner("optimizer.lr=1e30", "name=far")
    assert done.code == 4
    (run,) = Path("outputs/default").iterdir()
    status = (run / "status.json").read_text()
    assert '"state": "diverged"' in status
    assert "at step 2" in status
    assert list((run / "checkpoints").glob("step-0-*.pt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1\n", "defaults.yaml:2: expected ',' or ']', but got '<stream end>'"),
        ("- 1\n", "defaults.yaml:1: expected a mapping of keys, found a list"),
        (
            "threads: 1\nthreads: 012\n",
            "defaults.yaml:2: duplicate key 'threads' (first at line 1)",
        ),
        ("config_dir: nowhere\n", "--config-dir nowhere: no such folder"),
        ("trust: [a b]\n", "--trust 'a b': expected a package's name"),
        ("output_root: 5\n", "output_root: expected a text, got 5"),
        ("trust: 5\n", "trust: expected a text, got 5"),
        ("threads: 0\n", "threads: expected a whole number >= 1 or auto, got 0"),
    ],
)
def test_a_broken_defaults_file_is_named(runner, defaults_file, content: str, message: str) -> None:
    defaults_file.write_text(content)
    done = runner("trainer=quick")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert str(defaults_file) in done.err or message.startswith("--")


def test_a_working_directory_stands_in_for_nothing(runner, defaults_file: Path) -> None:
    defaults_file.write_text("threads: 1\ntrust: [mine]\n")
    Path("sklearn.py").write_text("raise SystemExit('a stranger ran')\n")
    assert runner("trainer=quick").code == 0
    assert runner("trainer=quick", "--trust", "mine").code == 0


def test_nothing_that_is_not_finite_is_saved(runner) -> None:
    import torch

    done = runner("optimizer.lr=1e30", "trainer.save_every=1steps", "trainer.log_every=50steps",
                  "trainer.evaluate_every=100steps")  # fmt: skip
    assert done.code == 4
    (run,) = Path("outputs/default").iterdir()
    found = list((run / "checkpoints").glob("*.pt"))
    assert found
    for path in found:
        model = torch.load(path, weights_only=True)["state"]["model"]
        assert all(tensor.isfinite().all() for tensor in model.values())


def test_data_that_changed_is_noticed(runner) -> None:
    assert runner("trainer=quick", "optimizer.lr=1e30").code == 4
    (run,) = Path("outputs/default").iterdir()
    recorded = json.loads((run / "environment.json").read_text())
    recorded["data"]["checksum"] = "0" * 16
    (run / "environment.json").write_text(json.dumps(recorded))
    done = runner("resume", "last")
    assert done.code == 3
    assert "data hash differs: recorded 0000" in done.err


def test_recorded_runs_take_machine_keys_only(runner, tmp_path: Path) -> None:
    root = f"output_root={tmp_path / 'there'}"
    assert runner("trainer=quick", root).code == 0
    assert "finished" in runner("runs", root).out
    assert runner("evaluate", "last", root, "device=cpu").code == 0
    done = runner("evaluate", "last", root, "optimizer.lr=1")
    assert done.code == 2
    assert "optimizer.lr: a recorded run takes only output_root, dataset.root, device" in done.err
