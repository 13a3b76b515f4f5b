"""Reading a data set runs no code of its files, and leaves other folders alone."""

import json

import pytest

from jaxdl import data

IN_JSON = json.dumps({"feature": {"type": "evil.Feature", "content": {}}})


HOSTILE = {
    "in features.json": ("features.json", {"pythonClassName": "evil.Feature", "jsonFeature": {"json": "{}"}}),
    "in a dictionary": (
        "features.json",
        {
            "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
            "featuresDict": {"features": {"image": {"python_class_name": "evil.Feature"}}},
        },
    ),
    "as old files do": ("features.json", {"type": "evil.Feature", "content": {}}),
    "in a text within": (
        "features.json",
        {
            "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
            "jsonFeature": {"json": IN_JSON},
        },
    ),
    "in dataset_info.json": ("dataset_info.json", {"features": {"pythonClassName": "evil.Feature"}}),
}  # fmt: skip


@pytest.mark.parametrize("where", HOSTILE)
def test_a_feature_of_somebody_elses_module_is_not_imported(stripes_copy, where, monkeypatch, tmp_path, capsys):
    folder, files = stripes_copy
    name, content = HOSTILE[where]
    described = json.loads((files / name).read_text()) if name == "dataset_info.json" else {}
    (files / name).write_text(json.dumps(described | content))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    refused = f"{name} names the feature evil.Feature, which is not one of tensorflow_datasets.features"
    for read in (data.load, data.records, data.prepare, lambda name, folder: data.samples(name, 3, folder)):
        with pytest.raises(ValueError, match=refused):
            read("stripes", folder=folder)
        with pytest.raises(ValueError, match=refused):
            read("Stripes", folder=folder)
    sets, broken = data.listed(folder)
    assert [s.name for s in sets] == ["digits"]
    assert refused in broken["stripes 1.0.0"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["../stripes", "/etc/passwd", "a/../../b", "stripes/..", "..", "", "stripes/../stripes"]
)
def test_names_do_not_leave_the_folder(stripes_folder, name, tmp_path):
    before = sorted(stripes_folder.parent.rglob("*"))
    for load in (data.records, data.load, data.load_texts):
        with pytest.raises(ValueError, match=r"a data set's name is like mnist, glue/sst2 or mnist:3\.0\.1, got"):
            load(name, folder=str(stripes_folder))
    assert sorted(stripes_folder.parent.rglob("*")) == before
