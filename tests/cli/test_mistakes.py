"""What a user gets for a mistake: one clear message, the right code, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

# words on the command line, exit code, what the message must hold
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
    ("--config-name=nope", 2, "unknown flag '--config-name=nope'"),
    ("--optimizer.lr=3", 2, "configuration has no dashes: write optimizer.lr=3"),
    ("optimizer.lr 3", 2, "'optimizer.lr' is configuration: write optimizer.lr=3"),
    ("resume", 2, "the following arguments are required: DIR\n"),
    ("diff a", 2, "the following arguments are required: B\n"),
    # values and keys
    ("lrr=0.1", 2, "lrr: unknown key; did you mean 'optimizer.lr'?"),
    ("+optimizer.lrr=0.1", 2, "optimizer.lrr: unknown key; did you mean 'optimizer.lr'?"),
    ("++unknown=1", 2, "unknown: unknown key"),
    ("optimizer.lr=abc", 2, "optimizer.lr: expected a number > 0, got 'abc'"),
    ("optimizer.lr=-1", 2, "optimizer.lr: expected a number > 0, got -1"),
    ("optimizer.lr=nan", 2, "optimizer.lr: expected a number > 0, got nan"),
    ("optimizer.lr=inf", 2, "optimizer.lr: expected a number > 0, got inf"),
    ("optimizer.lr=true", 2, "optimizer.lr: expected a number > 0, got true"),
    (
        "optimizer.lr=0.1,0.2",
        2,
        "several values, '0.1,0.2'; one run takes one: add -m for a run of",
    ),
    ("optimizer.lr=0.1 optimizer.lr=0.2", 2, "optimizer.lr: given 2 times (0.1, 0.2)"),
    ("optimizer.lr=", 2, "optimizer.lr: missing value"),
    ("optimizer.lr=???", 2, "optimizer.lr: missing value"),
    ("name=${foo}", 2, "name: Interpolation key 'foo' not found"),
    ("optimizer.lr=${oc.env:NOPE}", 2, "optimizer.lr: environment variable NOPE is not set"),
    ("~optimizer", 2, "optimizer: required key was removed"),
    ("~optimizer.lr", 2, "optimizer.lr: required key was removed"),
    ("optimizer=[[1]]", 2, "optimizer: choose one option"),
    ("optimizer.lr=0", 2, "optimizer.lr: expected a number > 0, got 0"),
    ("trainer.lr=1", 2, "trainer.lr: unknown key; did you mean 'optimizer.lr'?"),
    ("hydra.sweep.subdir=x", 2, "hydra.sweep.subdir: the runner composes by itself"),
    # targets
    ("optimizer._target_=os.system", 2, "optimizer._target_: 'os.system' is not trusted"),
    ("optimizer._target_=torch.load", 2, "optimizer._target_: 'torch.load' is not trusted"),
    ("optimizer._target_=runner.components.activation.relu", 2, "is no optimizer"),
    ("loss._target_=runner.components.activation.relu", 2, "is no loss"),
    ("activation._target_=torch.nn.LeakyReLU +activation.negative_slope=abc", 2, "a number, got"),
    ("activation._target_=torch.nn.init.zeros_", 2, "is no class"),
    # the run's own keys
    ("device=gpu", 2, "device: expected a text: auto, cpu, cuda or cuda:N, got 'gpu'"),
    ("device=cuda:77", 2, "device: 'cuda:77' is not available"),
    ("seed=-1", 2, "seed: expected a whole number in [0, 4294967295], got -1"),
    ("seed=1.5", 2, "seed: expected a whole number"),
    ("seed=4294967296", 2, "seed: expected a whole number"),
    ("seed=true", 2, "seed: expected a whole number"),
    ("objective=valid/acc", 2, "objective: no metric 'valid/acc'; did you mean 'valid/accuracy'?"),
    ("name=../x", 2, "name: expected a text of up to 80 letters"),
    ("name=/tmp/x", 2, "name: expected a text"),
    ("name='[/red]'", 2, "name: expected a text"),
    (f"name={'x' * 300}", 2, "name: expected a text"),
    ("name=''", 2, "name: expected a text"),
    ("threads=0", 2, "threads: expected a whole number in [1, 1024] or one of auto"),
    ("precision=float16", 2, "precision: expected one of float32, float64, bfloat16, tf32"),
    ("precision=tf32 device=cpu", 2, "precision: 'tf32' needs a CUDA device; use float32"),
    ("threads=100000", 2, "threads: expected a whole number in [1, 1024]"),
    ("experiment=nope", 2, "experiment=nope: no such option"),
    ("seed=18446744073709551616", 2, "seed: expected a whole number in [0, 4294967295]"),
    ("seed=a", 2, "seed: expected a whole number in [0, 4294967295], got 'a'"),
    ("objective=test/accuracy", 2, "objective: no metric 'test/accuracy'"),
    ("summary=2", 2, "summary: expected true or false, got 2"),
    ("name=12", 2, "got 12; for a text write \"'12'\""),
    # trainer
    ("trainer.epochs=2.5", 2, "trainer.epochs: expected a whole number >= 1"),
    ("trainer.epochs=0", 2, "trainer.epochs: expected a whole number >= 1"),
    ("trainer.batch_size=0", 2, "trainer.batch_size: expected a whole number >= 1"),
    ("trainer.batch_size=5000", 2, "trainer.batch_size 5000 is more than the 1079 rows"),
    ("trainer.epochs=null", 2, "trainer: one of epochs, steps, samples and minutes must be set"),
    ("trainer.epochs=1 trainer.steps=40", 2, "give one of them, not both"),
    ("trainer.steps=3 trainer.samples=9", 2, "give one of them, not both"),
    ("trainer.epochs=-1", 2, "trainer.epochs: expected a whole number >= 1 or null, got -1"),
    ("trainer.steps=0", 2, "trainer.steps: expected a whole number >= 1 or null, got 0"),
    ("trainer.samples=0", 2, "trainer.samples: expected a whole number >= 1 or null, got 0"),
    ("trainer.minutes=12:30", 2, "trainer.minutes: expected a number > 0 or null, got '12:30'"),
    ("trainer.batch_size=2.5", 2, "trainer.batch_size: expected a whole number >= 1, got 2.5"),
    ("trainer.accumulate=0", 2, "trainer.accumulate: expected a whole number >= 1, got 0"),
    ("trainer.log_every=5", 2, "trainer.log_every: expected a duration such as 200steps"),
    ("trainer.evaluate_every=200%", 2, "trainer.evaluate_every: expected a duration"),
    ("trainer=[quick,default]", 2, "trainer: choose one option (trainer has default, quick)"),
    # dataset
    ("dataset.valid=0.9", 2, "0.9 + 0.2 = 1.1"),
    ("dataset=wine dataset.valid=0.001", 2, "dataset.valid: a share of 0.001 of 178 rows is"),
    ("dataset.test=null", 2, "dataset.test: expected a share of the rows"),
    ("dataset=mnistt", 2, "dataset=mnistt: no such option; did you mean 'mnist'?"),
    ("dataset=mnist dataset.root=nowhere", 3, "no data files in nowhere"),
    ("dataset=cifar10 dataset.root=nowhere", 3, "no data files in nowhere"),
    ("dataset=[digits,wine]", 2, "dataset: choose one option"),
    ("dataset=csv", 2, "dataset.path: missing value; expected a text"),
    ("dataset=csv dataset.path=nowhere.csv dataset.target=y", 3, "nowhere.csv: no such file"),
    ("dataset=image_folder", 2, "dataset.root: missing value"),
    ("dataset=image_folder dataset.root=nowhere", 3, "expected a folder with one folder a class"),
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
    ("dataset=wine dataset.valid=0.99 dataset.test=0.01", 2, "leaves no training rows"),
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
    ("architecture.hidden=[-5]", 2, "architecture.hidden[0]: expected a whole number >= 1"),
    ("architecture.hidden=64", 2, "architecture.hidden: expected a list"),
    ("architecture.hidden=[64,a]", 2, "architecture.hidden[1]: expected a whole number"),
    ("dataset=wine architecture=cnn", 2, "architecture: cnn needs images"),
    ("architecture=cnn preprocessing=pca", 2, "got (64,)"),
    ("architecture.hidden=[]", 2, "hidden=[] leaves no hidden layer"),
    ("architecture.activations=[relu]", 2, "activations names 1 for 2 hidden layers"),
    ("architecture.activations=[rellu,relu]", 2, "no such option; did you mean 'relu'? (elu, "),
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
    ("architecture=cnn architecture.kernel=30", 2, "stage 1, convolution 1: a kernel of 30"),
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
    ("architecture.hidden=[0]", 2, "architecture.hidden[0]: expected a whole number >= 1, got 0"),
    ("architecture.hidden=[012]", 2, "architecture.hidden[0]: expected a whole number >= 1"),
    ("architecture.hidden=[1e13]", 2, "architecture: more memory is needed than there is"),
    ("architecture.classes=5", 2, "architecture.classes: unknown key; mlp has hidden, activations"),
    ("architecture=vit dataset=wine", 2, "architecture: vit needs images"),
    # activation
    ("activation=rellu", 2, "activation=rellu: no such option; did you mean 'relu'?"),
    ("activation=maxout activation.pieces=0", 2, "activation.pieces: expected a whole number"),
    ("activation=elu activation.alpha=-1", 2, "activation.alpha: expected a number > 0, got -1"),
    ("activation=maxout activation.pieces=1.5", 2, "activation.pieces: expected a whole number"),
    ("activation=no", 2, "activation=no: no such option (activation has elu, "),
    # output
    ("output=softmx", 2, "output=softmx: no such option; did you mean 'softmax'?"),
    ("output.nope=1", 2, "output.nope: unknown key; identity has no options"),
    # normalization
    ("normalization=batch trainer.batch_size=1", 2, "1 sample, use trainer.batch_size >= 2"),
    ("normalization=batch trainer.batch_size=154 trainer.drop_last=false", 2, "1 sample"),
    ("normalization=batch normalization.momentum=2", 2, "normalization.momentum: expected"),
    ("normalization=group normalization.groups=3", 2, "3 groups do not divide 128 features"),
    ("normalization=group normalization.groups=0", 2, "normalization.groups: expected"),
    ("normalization=instance", 2, "the output would be constant 0"),
    ("normalization=batch normalization.layers=[9]", 2, "no unit 9; the model has units 0 to 1"),
    ("normalization=batch normalization.layers=first", 2, "normalization.layers: expected"),
    ("normalization=weight normalization.position=after", 2, "stands nowhere"),
    ("normalization=batch sampler=single", 2, "the smallest batch has 1 sample"),
    ("normalization=batch trainer.batch_size=2 trainer.accumulate=2", 2, "smallest of 2 parts"),
    ("normalization=batch_whitening trainer.batch_size=1", 2, "batch whitening needs two samples"),
    ("normalization=group normalization.groups=128", 2, "groups of a single number (128 of 128)"),
    # dropout
    ("dropout=inverted dropout.keep=1.5", 2, "dropout.keep: expected a number in (0, 1]"),
    ("dropout=inverted dropout.keep=0", 2, "dropout.keep: expected a number in (0, 1]"),
    ("dropout=inverted dropout.average=all", 2, "dropout.average: expected"),
    ("dropout=inverted dropout.average=exhaustive trainer=quick", 2, "units are the most"),
    # initializer
    ("initializer=xavier", 2, "glorot_normal"),
    ("initializer=fixup", 2, "no residual branches; use architecture=resnet"),
    ("initializer=kaiming_normal initializer.fan=both", 2, "initializer.fan: expected one of in"),
    ("initializer=normal initializer.std=-1", 2, "initializer.std: expected a number >= 0"),
    ("initializer=data_dependent activation=sign", 2, "no gradient reaches the layer"),
    ("initializer=zeros normalization=weight", 2, "a row of zeros"),
    # loss
    ("loss=mse", 2, "loss 'mse' needs float targets of shape (N, 10), got class labels"),
    ("dataset=diabetes", 2, "loss 'cross_entropy' needs class labels"),
    ("loss=hing", 2, "loss=hing: no such option; did you mean 'hinge'?"),
    ("loss.alpha=0.1 loss.eps=0.01", 2, "eps=0.01 and alpha=0.1 both smooth the labels"),
    ("loss.eps=0.2", 2, "use loss.eps <= 0.1, or loss.alpha=0.2"),
    ("loss.alpha=1.5", 2, "loss.alpha: expected a number in [0, 1] or null, got 1.5"),
    ("loss.smoothing=0.1", 2, "loss.smoothing: unknown key; cross_entropy has eps, alpha"),
    ("dataset=diabetes loss=mse loss.one_hot=true", 2, "loss.one_hot: is for classes"),
    ("loss=bce", 2, "needs exactly 2 classes, the data has 10; use loss=cross_entropy"),
    ("loss=bce_probabilities dataset=moons", 2, "the model gives scores; use output=sigmoid"),
    ("loss=bce_probabilities dataset=moons output=softmax", 2, "always 1; use output=sigmoid"),
    ("loss=hinge dataset=diabetes", 2, "loss 'hinge' needs class labels"),
    ("loss=hinge loss.margin=0", 2, "loss.margin: expected a number > 0, got 0"),
    ("loss=huber loss.delta=0 dataset=diabetes", 2, "loss.delta: expected a number > 0, got 0"),
    ("loss=hinge augmentation=mixup", 2, "mixes samples (mixup, cutmix) use loss=cross_entropy"),
    ("dataset=diabetes loss=mse output=sigmoid", 2, "a regression has not; use output=identity"),
    ("loss.eps=-1", 2, "loss.eps: expected a number in [0, 1), got -1"),
    ("loss=kl dataset=diabetes", 2, "loss 'kl' needs class labels; for regression use loss=mse"),
    ("loss=zero_one", 2, "it is a metric, metrics=error"),
    # metrics
    ("metrics=topk", 2, "metrics=topk: no such option; did you mean 'top_k'?"),
    ("dataset=wine metrics=top_k", 2, "metrics.top_k: k=5 of 3 classes; use metrics.top_k.k <= 3"),
    ("dataset=diabetes loss=mse metrics=error", 2, "the data has numbers; use metrics=standard"),
    # regularizer
    ("regularizer=l2 regularizer.l2.strength=-1", 2, "regularizer.l2.strength: expected"),
    ("regularizer=lp_norm regularizer.lp_norm.p=0.5", 2, "regularizer.lp_norm.p: expected"),
    ("regularizer=weight_decay regularizer.weight_decay.strength=-1", 2, "a number >= 0"),
    ("regularizer=max_norm regularizer.max_norm.limit=0", 2, "regularizer.max_norm.limit:"),
    ("regularizer=[l1,l3]", 2, "regularizer=l3: no such option"),
    ("regularizer.l1.strength=1", 2, "regularizer.l1: expected a node with _target_"),
    # optimizer
    ("optimizer.momentum=1.5", 2, "optimizer.momentum: expected a number in [0, 1), got 1.5"),
    ("optimizer.nesterov=true optimizer.momentum=0", 2, "nesterov=true needs momentum > 0"),
    ("optimizer=adam optimizer.betas=[0.9]", 2, "optimizer.betas: expected a list of 2"),
    ("optimizer=adam optimizer.betas=[0.9,1.0]", 2, "optimizer.betas[1]: expected a number"),
    ("optimizer=adam optimizer.eps=0", 2, "optimizer.eps: expected a number > 0"),
    ("optimizer.lr=1e30", 4, "the training loss became"),
    ("optimizer=adamw optimizer.betas=[0.9,1.0]", 2, "optimizer.betas[1]: expected a number"),
    ("optimizer=adamw optimizer.weight_decay=-1", 2, "optimizer.weight_decay: expected"),
    ("optimizer=rmsprop optimizer.alpha=1.5", 2, "optimizer.alpha: expected a number in [0, 1)"),
    ("optimizer=lbfgs optimizer.history=0", 2, "optimizer.history: expected a whole number >= 1"),
    (
        "optimizer=rprop optimizer.shrink=1.2 optimizer.grow=0.5",
        2,
        "expected a number in (0, 1), got 1.2",
    ),
    (
        "optimizer=rprop optimizer.smallest=2 optimizer.largest=1",
        2,
        "optimizer: needs smallest <= largest",
    ),
    ("optimizer=lbfgs clipping=norm", 2, "clipping: optimizer 'lbfgs' takes its own steps"),
    ("optimizer=lbfgs trainer.accumulate=2", 2, "optimizer 'lbfgs' needs whole batches; use 1"),
    ("optimizer=newton", 2, "one equation for each of 26,122 parameters, and takes at most 4,000"),
    (
        "optimizer=sgd optimizer._target_=torch.optim.Adam +optimizer.betas=[0]",
        2,
        "be made with lr=0.1",
    ),
    ("optimizer=sgd optimizer._target_=torch.optim.SparseAdam", 2, "use optimizer=adam"),
    ("optimizer=sgd optimizer._target_=torch.optim.Muon", 2, "Muon only supports 2D parameters"),
    ("optimizer=shampoo", 2, "muon is its cheap relative"),
    ("optimizer=rmsprop optimizer.eps=0", 2, "optimizer.eps: expected a number > 0, got 0"),
    # clipping
    ("clipping=norm clipping.norm.limit=-1", 2, "clipping.norm.limit: expected a number > 0"),
    ("optimizer=backtracking clipping=value", 2, "clipping: optimizer 'backtracking' takes"),
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
    ("normalization=weight regularizer=l2", 2, "shrinking a direction changes nothing"),
    ("normalization=batch regularizer=jacobian", 2, "samples see each other"),
    ("dropout=spatial", 2, "there are no channels; use dropout=inverted"),
    ("schedule=plateau schedule.metric=valid/accuracy", 2, "use schedule.better=higher"),
    ("clipping=norm clipping.norm.limit=0", 2, "clipping.norm.limit: expected a number > 0, got 0"),
    # schedule
    ("schedule.warmup=500steps trainer.steps=200", 2, "schedule: warmup 500 >= total 200 steps"),
    ("trainer.epochs=null trainer.minutes=1", 2, "schedule: cosine needs an end"),
    ("schedule=step", 2, "schedule=step: no such option; not here: a cut after every"),
    ("schedule=staircase schedule.every=0steps", 2, "schedule.every: expected a duration"),
    ("schedule=staircase schedule.factor=-1", 2, "schedule.factor: expected a number in (0, 1]"),
    ("schedule=multi_step schedule.milestones=[9epochs,2epochs]", 2, "=[32steps,144steps]"),
    ("schedule=multi_step schedule.milestones=9epochs", 2, "schedule.milestones: expected a list"),
    ("schedule=inverse_time schedule.rate=0", 2, "schedule.rate: expected a number > 0"),
    ("schedule=one_cycle schedule.total=9", 2, "schedule.total: unknown key"),
    ("schedule=one_cycle schedule.rise=90% schedule.warmup=30%", 2, "schedule: rise 288 > 224"),
    ("schedule=one_cycle trainer.epochs=null trainer.minutes=1", 2, "30% of what? give trainer"),
    ("schedule=cyclic schedule.period=1steps", 2, "schedule: period 1: a cycle needs at least 2"),
    ("schedule=plateau schedule.better=higher", 2, "schedule: the objective is turned so that"),
    ("schedule=plateau schedule.metric=valid/acuracy", 2, "did you mean 'valid/accuracy'?"),
    ("schedule=linear trainer.epochs=null trainer.minutes=1", 2, "schedule: linear needs an end"),
    ("schedule=cosine schedule.total=0", 2, "schedule.total: unknown key; cosine has"),
    ("schedule.every=5steps", 2, "schedule.every: unknown key; cosine has floor, warmup"),
    # averaging
    ("averaging=ema averaging.decay=1", 2, "averaging.decay: expected a number in [0, 1)"),
    ("averaging=swa averaging.start=200%", 2, "averaging.start: expected a duration"),
    ("averaging=swa schedule=constant trainer.epochs=null trainer.minutes=1", 2, "75% of what?"),
    ("averaging=swaa", 2, "averaging=swaa: no such option; did you mean 'swa'?"),
    # stopping
    ("stopping=early stopping.patience=0", 2, "stopping.patience: expected a whole number >= 1"),
    ("stopping=early dataset.valid=0", 2, "stopping: needs validation rows"),
    ("stopping=target stopping.metric=valid/acuracy", 2, "did you mean 'valid/accuracy'?"),
    ("stopping=loss_change stopping.metric=nothing trainer=quick", 2, "(logged are "),
    ("stopping=target stopping.direction=above", 2, "stopping.direction: expected one of at_least"),
    ("stopping=loss_change stopping.tolerance=0", 2, "stopping.tolerance: expected a number > 0"),
    (
        "stopping=early dataset.valid=0 objective=valid/loss",
        2,
        "objective: no metric 'valid/loss'; did you mean 'train/loss'?",
    ),
    ("stopping=target dataset.valid=0", 2, "is not logged; did you mean 'train/accuracy'?"),
    ("dataset=diabetes loss=mse stopping=target", 2, "stopping.metric: 'valid/accuracy'"),
    ("stopping=early stopping.mode=min", 2, "stopping.mode: unknown key; early has"),
    ("stopping=early stopping.patience=-1", 2, "stopping.patience: expected a whole number >= 1"),
    # hooks
    ("hooks=null", 2, "hooks: choose one option"),
    ("hooks=[weight_norm,nope]", 2, "hooks=nope: no such option"),
    ("hooks=nope", 2, "hooks=nope: no such option"),
]


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_a_mistake(runner, line: str, code: int, message: str) -> None:
    done = runner(*line.split(" "))
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err + done.out
    if code != 4:
        assert not Path("outputs").exists(), "nothing is made before everything is right"


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
    ("optimizer=rprop", "optimizer 'rprop' is made for full batches; use sampler=full_batch"),
    ("optimizer=lbfgs", "optimizer 'lbfgs' is made for full batches; use sampler=full_batch"),
    ("output=softmax", "double softmax: loss 'cross_entropy' turns scores into probabilities"),
    ("normalization=batch trainer.accumulate=2", "batch statistics are taken of each part"),
    ("normalization=batch optimizer=lbfgs sampler=full_batch", "runs the model several times"),
    ("architecture=linear dropout=inverted", "architecture 'linear' has none of the runner's"),
    (
        "averaging=swa stopping=target stopping.metric=train/loss stopping.direction=at_most "
        "stopping.value=9",
        "no weights were averaged",
    ),
]


@pytest.mark.parametrize(("line", "message"), WARNED, ids=[m[0] for m in WARNED])
def test_a_warning(runner, line: str, message: str) -> None:
    done = runner(*line.split(), "trainer=quick")
    assert done.code == 0, done.err
    (warning,) = [each for each in done.out.splitlines() if each.startswith("warning: ")]
    assert message in warning


def test_a_warning_heeded_is_gone(runner) -> None:
    done = runner("optimizer=rprop", "sampler=full_batch", "trainer=quick")
    assert (done.code, "warning: " in done.out) == (0, False)


def test_a_typed_budget_stands_instead_of_any_other(runner) -> None:
    assert "train   48 steps" in runner("trainer=quick", "trainer.epochs=3").out
    assert "train   2 steps" in runner("trainer=quick", "trainer.samples=100").out


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
        ("a: [1\n", "not a mapping of keys"),
        ("- 1\n", "not a mapping of keys"),
        ("output_root: 5\n", "output_root: expected a text, got 5"),
        ("trust: 5\n", "trust: expected a text, got 5"),
        ("threads: 0\n", "threads: expected a whole number >= 1 or one of auto, got 0"),
    ],
)
def test_a_broken_defaults_file_is_named(runner, defaults_file, content: str, message: str) -> None:
    defaults_file.write_text(content)
    done = runner("trainer=quick")
    assert (done.code, done.out) == (2, "")
    assert f"{defaults_file}: " in done.err
    assert message in done.err


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
