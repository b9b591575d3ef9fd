"""Recipes: the shipped ones, and the paths in one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.core.device import load_device
from edgecnn.core.recipe import is_callable
from edgecnn.core.recipe_file import load_recipe
from edgecnn.core.resources import shipped_names
from edgecnn.errors import InputError

NAMES = shipped_names("recipes")
PREPROCESS = "preprocess: {size_hw: [32, 32]}\n"


def write(folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / "own.yaml"
    path.write_text(f"name: own\n{PREPROCESS}{text}")
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_recipes_load_under_their_name_for_a_known_device(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert load_device(recipe.target.device).name == recipe.target.device
    assert recipe.description


def test_there_are_recipes() -> None:
    assert "digits-lenet5" in NAMES


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(
            tmp_path / "sub",
            "model: {source: net.onnx}\n"
            "data: {train: pictures, calibration: /data/calibration, evaluation: lists/held-out.csv}\n"
            "labels: names.txt\n",
        )
    )
    folder = tmp_path / "sub"
    assert recipe.model.source == str(folder / "net.onnx")
    assert recipe.data.train == str(folder / "pictures")
    assert recipe.data.calibration == "/data/calibration"
    assert recipe.data.evaluation == str(folder / "lists/held-out.csv")
    assert recipe.labels == str(folder / "names.txt")


def test_a_teacher_is_looked_for_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "name: x\nmodel: {source: 'zoo:lenet5'}\npreprocess: {size_hw: [32, 32]}\n"
        "train: {teacher: {source: 'big:net', weights: big.pt}}\n"
    )
    (tmp_path / "big.py").write_text("")

    found = load_recipe(str(tmp_path / "recipe.yaml"))

    assert found.train is not None
    assert found.train.teacher is not None
    assert (found.train.teacher.source, found.train.teacher.weights) == (f"{tmp_path}/big:net", f"{tmp_path}/big.pt")


def test_weights_are_relative_to_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "model: {source: 'torchvision:resnet18', weights: ../weights.pth}\n"))
    assert recipe.model.weights == str(tmp_path / "../weights.pth")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {source: net.onnx, weights: w.pth}\n", "an ONNX file has its weights"),
        ("model: {source: net.onnx, arguments: {width: 2}}\n", "an ONNX file has its weights"),
        ("model: {source: 'zoo:lenet5', weights: w.pth}\ntrain: {epochs: 1}\n", "exclude each other"),
        ("model: {source: net.onnx}\nquantize: {precision: int8}\nquantize: {precision: fp16}\n", "there twice"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_recipe(write(tmp_path, text))


@pytest.mark.parametrize("weights", ["default", "random"])
def test_names_are_no_paths(tmp_path: Path, weights: str) -> None:
    recipe = load_recipe(
        write(
            tmp_path,
            f"model: {{source: 'torchvision:resnet18', weights: {weights}}}\n"
            "data: {train: 'sklearn:digits/train'}\nlabels: imagenet-1k\n",
        )
    )
    assert (recipe.model.source, recipe.model.weights) == ("torchvision:resnet18", weights)
    assert (recipe.data.train, recipe.labels) == ("sklearn:digits/train", "imagenet-1k")
    assert recipe.data.evaluation is None


@pytest.mark.parametrize(
    ("source", "beside", "found"),
    [
        ("nets:build", "nets.py", "{folder}/nets:build"),
        ("pack.age.nets:Net.build", "pack/age/nets.py", "{folder}/pack.age.nets:Net.build"),
        ("lib/nets:build", "lib/nets.py", "{folder}/lib/nets:build"),
        ("nets:build", "other.py", "nets:build"),
        ("timm:nets", "timm.py", "timm:nets"),
    ],
)
def test_a_module_is_looked_for_beside_the_recipe(tmp_path: Path, source: str, beside: str, found: str) -> None:
    (tmp_path / beside).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / beside).touch()

    model = load_recipe(write(tmp_path, f"model: {{source: '{source}', arguments: {{depth: 2, act: [relu]}}}}\n")).model

    assert model.source == found.format(folder=tmp_path)
    assert model.arguments == {"depth": 2, "act": ["relu"]}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nets:build", True),
        ("a/b/nets:Net.build", True),
        *(
            (name, False)
            for name in ("zoo:lenet5", "torchvision:resnet18", "timm:resnet18", "C:\\net.onnx", "net", ":x")
        ),
    ],
)
def test_what_counts_as_a_callable(source: str, expected: bool) -> None:
    assert is_callable(source) is expected


def test_labels_can_be_given_one_by_one(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "model: {source: 'zoo:lenet5'}\nlabels: [a, b]\n")).labels == ("a", "b")


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="recipe digits-lenet6: no such file") as caught:
        load_recipe("digits-lenet6")
    for name in NAMES:
        assert name in caught.value.hint


def test_a_mistake_in_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.yaml:4: unknown key 'quantise'; did you mean 'quantize'\?"):
        load_recipe(write(tmp_path, "model: {source: 'zoo:lenet5'}\nquantise: {}\n"))


DETECTOR = "model: {source: net.onnx}\ntask: detection\n"
RETINANET = "model: {source: 'torchvision:retinanet_resnet50_fpn'}\ntask: detection\n"
TRAINED = "model: {source: 'torchvision:mobilenet_v2', head: {}}\ntask: detection\n"


def test_a_detector_has_its_own_section(tmp_path: Path) -> None:
    text = "labels: coco-80\ndetection: {score_threshold: 0.4, layout: {kind: yolox, background: null}}\n"
    recipe = load_recipe(write(tmp_path, DETECTOR + text))
    assert (recipe.task, recipe.labels, recipe.detection.score_threshold) == ("detection", "coco-80", 0.4)
    # What is stated to be none is stated.
    assert recipe.detection.layout.stated() == {"kind": "yolox", "background": None}
    torchvisions = load_recipe(write(tmp_path, RETINANET + "train: {objective: detection, pretrained: trunk}\n"))
    assert torchvisions.train is not None
    assert torchvisions.train.pretrained == "trunk"
    plain = load_recipe(write(tmp_path, DETECTOR))
    assert plain.detection.layout.stated() == {}
    assert plain.gates.min_map_kept == 0.99


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DETECTOR + "train: {epochs: 1}\n", "no train goes with task: detection that has objective: softmax"),
        (DETECTOR + "train: {objective: detection}\n", "trained with model.head"),
        (TRAINED.replace("task: detection", "task: classification"), "model.head goes with task: detection"),
        (RETINANET.replace("task: detection", "task: classification"), "it goes with task: detection"),
        (RETINANET.replace("'}", "', head: {}}"), "a network that is no detector yet"),
        (RETINANET.replace("retinanet_resnet50_fpn", "ssd300_vgg16"), r"wants preprocess.size_hw: \[300, 300\]"),
        (TRAINED + "train: {objective: detection, layers: head}\n", "layers: head is for classifiers"),
        (TRAINED + "train: {objective: detection, mixup: 0.2}\n", "mixup .* for classifiers"),
        (TRAINED + "train: {objective: detection, augment: {policy: trivial}}\n", "know no boxes"),
        ("model: {source: net.onnx}\ndetection: {score_threshold: 0.4}\n", "detection goes with task: detection"),
        (DETECTOR + "detection: {layout: {kind: yolo}}\n", "'detection.layout.kind'"),
        (DETECTOR + "detection: {layout: {activatoin: none}}\n", "did you mean 'activation'"),
        (DETECTOR + "detection: {score_threshold: 1.5}\n", "'detection.score_threshold'"),
        (DETECTOR.replace("detection", "detecting"), "'task'"),
    ],
)
def test_a_mistake_about_a_detector(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_recipe(write(tmp_path, text))


def test_what_is_learnt_says_the_task(tmp_path: Path) -> None:
    model = "model: {source: 'zoo:lenet5'}\n"
    for objective, task in (("softmax", "classification"), ("multilabel", "multilabel"), ("regression", "regression")):
        text = model + f"train: {{objective: {objective}}}\n"
        assert load_recipe(write(tmp_path, text)).task == task
        assert load_recipe(write(tmp_path, text + f"task: {task}\n")).task == task
    assert load_recipe(write(tmp_path, model + "train: {epochs: 1}\n")).task == "classification"
    for more, words in (
        (
            "task: regression\ntrain: {objective: multilabel}\n",
            "objective: multilabel, which makes a network for task:",
        ),
        ("task: multilabel\ntrain: {epochs: 3}\n", "no train goes with task: multilabel that has objective: softmax"),
        ("train: {objective: regression}\nregression: {scale: [2]}\n", "learnt in their own unit"),
        ("train: {objective: softmax}\nmultilabel: {threshold: 0.2}\n", "multilabel goes with task: multilabel"),
    ):
        with pytest.raises(InputError, match=words):
            load_recipe(write(tmp_path, model + more))


@pytest.mark.parametrize(
    ("head", "size", "words"),
    [("{bins: 4}", "[320, 320]", "no object can be larger than 192 pixels"), ("{}", "[320, 300]", "multiples of 32")],
)
def test_a_head_that_the_input_does_not_fit(tmp_path: Path, head: str, size: str, words: str) -> None:
    text = f"name: own\npreprocess: {{size_hw: {size}}}\n{TRAINED.replace('{}', head)}"
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_recipe(str(tmp_path / "own.yaml"))


MASKS = "model: {source: 'torchvision:mobilenet_v3_small', head: {kind: lraspp}}\ntask: segmentation\n"
LEARNT = "train: {objective: segmentation"


def test_a_head_for_masks(tmp_path: Path) -> None:
    head = load_recipe(write(tmp_path, MASKS + LEARNT + ", balance: loss, label_smoothing: 0.1}\n")).model.head
    assert head is not None
    assert (head.kind, head.task, head.width) == ("lraspp", "segmentation", 128)
    own = MASKS.replace("torchvision:mobilenet_v3_small', head: {kind: lraspp}", "nets:unet'") + LEARNT + "}\n"
    assert load_recipe(write(tmp_path, own)).model.head is None
    light = load_recipe(write(tmp_path, TRAINED)).model.head
    assert light is not None
    assert light.kind == "light"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MASKS.replace(", head: {kind: lraspp}", "") + LEARNT + "}\n", r"trained with model.head: {kind: lraspp}"),
        (MASKS.replace("kind: lraspp", ""), "goes with task: detection if its kind is light"),
        (TRAINED.replace("{}", "{kind: lraspp}"), "goes with task: segmentation if its kind is lraspp"),
        (
            MASKS.replace("lraspp", "lrasp"),
            r"own.yaml:3: 'model.head': kind should be 'light' \(a detector\) or 'lraspp'",
        ),
        (MASKS.replace("lraspp", "lraspp, strid: 2"), r"unknown key 'model.head.strid'; did you mean 'stride'\?"),
        (
            MASKS.replace("lraspp", "lraspp, bins: 2"),
            r"unknown key 'model.head.bins'; known here: kind, width, dilate, stride",
        ),
        (
            TRAINED.replace("{}", "{stride: 2}"),
            r"unknown key 'model.head.stride'; known here: kind, width, depth, bins",
        ),
        (MASKS.replace("lraspp", "lraspp, stride: 3"), "'model.head.stride'"),
        (MASKS + LEARNT + ", mixup: 0.2}\n", "mixup is for classifiers, and not for masks"),
        (MASKS + LEARNT + ", layers: head}\n", "layers: head is for classifiers"),
        (MASKS + LEARNT + ", augment: {erase: 0.5}}\n", "crop, policy and erase know no masks"),
        (MASKS + "train: {epochs: 1}\n", "no train goes with task: segmentation that has objective: softmax"),
    ],
)
def test_a_mistake_about_masks(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_recipe(write(tmp_path, text))
