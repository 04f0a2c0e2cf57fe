"""NIfTI files: what they hold and where they lie, compared with nibabel and ITK; and what is refused, before memory."""

import gzip
import resource

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from transforms.cine import read_image
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_masks
from transforms.errors import InputError
from transforms.nifti_files import check_nifti, read_nifti
from transforms.pair_files import read_slice

AFFINE = np.array([[-1.5, 0, 0, 48], [0, 0, 8, 20], [0, -1.2, 0, 30], [0, 0, 0, 1]])  # coronal, RAS
CINE = np.random.default_rng(0).integers(1, 999, (30, 20, 3, 5)).astype(np.int16)  # x, y, slice, time


def save(path, array=CINE, affine=AFFINE, kind=nib.Nifti1Image, **header):
    """An image with fields of its header replaced."""
    image = kind(array, affine)
    image.header.set_zooms((1.5, 1.2, 8, 0.04)[: array.ndim])
    nib.save(image, path)
    content = bytearray(gzip.decompress(path.read_bytes()) if path.name.endswith("gz") else path.read_bytes())
    length = image.header.sizeof_hdr
    fields = type(image.header)(bytes(content[:length]), check=False)
    for name, value in header.items():
        fields[name] = value
    content[:length] = fields.binaryblock
    path.write_bytes(gzip.compress(content) if path.name.endswith("gz") else content)
    return path


# --- what is read ---


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
def test_values_and_place_are_those_that_itk_reads(tmp_path, kind):
    path = tmp_path / "a.nii"
    header = nib.Nifti1Header(endianness=">" if str(kind).startswith(">") else "<")
    header.set_data_dtype(kind)
    nib.save(nib.Nifti1Image(CINE.astype(kind), AFFINE, header), path)
    found, expected = read_nifti(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.image), sitk.GetArrayFromImage(expected))
    assert found.placed
    for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found.image, part)(), getattr(expected, part)(), atol=1e-5)


def test_values_are_scaled(tmp_path):
    image = sitk.GetArrayFromImage(read_nifti(save(tmp_path / "a.nii", scl_slope=0.5, scl_inter=-3)).image)
    np.testing.assert_array_equal(image, CINE.T * 0.5 - 3)
    image = sitk.GetArrayFromImage(read_nifti(save(tmp_path / "a.nii", scl_slope=0, scl_inter=7)).image)
    np.testing.assert_array_equal(image, CINE.T)  # a slope of 0 says that there is none


def test_every_form_of_file_gives_the_same_cine(tmp_path):
    plain = save(tmp_path / "plain.nii")
    (tmp_path / "gzipped.nii").write_bytes(gzip.compress(plain.read_bytes()))
    save(tmp_path / "second.nii.gz", kind=nib.Nifti2Image)
    nib.save(nib.Nifti1Pair(CINE, AFFINE), tmp_path / "pair.hdr")
    for name in ("plain.nii", "gzipped.nii", "second.nii.gz", "pair.hdr"):
        cine = read_cine_stack(tmp_path / name)
        np.testing.assert_array_equal(cine.images, CINE.T.transpose(1, 0, 2, 3))
        assert (cine.spacing, cine.distance) == (pytest.approx((1.2, 1.5)), pytest.approx(8))
    (tmp_path / "pair.img").unlink()
    with pytest.raises(InputError, match="a header whose data are in another file"):
        read_cine_stack(tmp_path / "pair.hdr")


@pytest.mark.parametrize(
    ("codes", "origin", "placed"), [((1, 1), 48, True), ((0, 1), 54, True), ((2, 0), 48, True), ((0, 0), 0, False)]
)
def test_the_place_is_the_sform_s_else_the_qform_s_else_none(tmp_path, caplog, codes, origin, placed):
    image = nib.Nifti1Image(CINE, AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 54
    image.header.set_sform(AFFINE, codes[0])
    image.header.set_qform(moved, codes[1])
    nib.save(nib.Nifti1Image(CINE, None, image.header), tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii")
    assert found.placed == placed
    assert found.image.GetOrigin()[0] == pytest.approx(-origin)
    assert ("it is placed by the sform" in caplog.text) == (codes == (1, 1))


@pytest.mark.parametrize("affine", [None, np.eye(4), np.diag([-1.5, -1.2, 8, 1])])
def test_an_affine_of_pixel_sizes_alone_is_no_place(tmp_path, affine):
    found = read_nifti(save(tmp_path / "a.nii", affine=affine))
    assert not found.placed
    assert found.image.GetSpacing() == pytest.approx((1.5, 1.2, 8, 0.04))


@pytest.mark.parametrize(("unit", "seconds"), [("sec", 0.04), ("msec", 4e-5), ("usec", 4e-8), ("unknown", 0.04)])
def test_units(tmp_path, unit, seconds):
    code = nib.nifti1.unit_codes.code["micron"] + nib.nifti1.unit_codes.code[unit]
    found = read_nifti(save(tmp_path / "a.nii", affine=None, xyzt_units=code)).image
    assert found.GetSpacing() == pytest.approx((0.0015, 0.0012, 0.008, seconds))


# --- what is refused ---


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "b.nii.gz"])
@pytest.mark.parametrize("read", [read_cine_stack, check_nifti])
def test_a_file_that_ends_early(tmp_path, name, read):
    path = save(tmp_path / name, np.zeros_like(CINE) if name[0] == "b" else CINE)
    read(path)
    content = path.read_bytes()
    for length in [len(content) * tenth // 10 for tenth in range(10)] + [len(content) - n for n in (1, 4, 8)]:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"{path}: cannot be read as NIfTI: \w+: "):
            read(path)


def test_both_counts_are_said(tmp_path):
    path = save(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="truncated: its header says 18000 bytes of data, the file holds 17000"):
        read_cine_stack(path)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    with pytest.raises(InputError, match="truncated: its header says 18000 bytes of data, the file holds 17000"):
        read_cine_stack(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0, -1.5, 1e30])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_pixel_size_that_is_none(tmp_path, axis, value):
    pixdim = np.float32([1, 1.5, 1.2, 8, 0.04, 1, 1, 1])
    pixdim[axis] = value
    with pytest.raises(InputError, match=r"a\.nii: .*: expected a pixel spacing above 0"):
        read_nifti(save(tmp_path / "a.nii", pixdim=pixdim))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"srow_x": [np.inf, 0, 0, 0]}, "its sform is not finite"),
        ({"srow_y": [0, 0, 8, np.nan]}, "its sform is not finite"),
        ({"srow_z": [0, 1e30, 0, 0]}, "its sform is not finite, or leads farther"),
        ({"srow_x": [0, 0, 0, 0]}, "its axes are not at right angles"),
        ({"srow_x": [-1.5, 0.5, 0, 0]}, r"its axes are not at right angles \(sform\)"),
        ({"srow_x": [-1.7, 0, 0, 48]}, "its sform says pixels of 1.7 x 1.2 x 8 mm, its pixdim 1.5 x 1.2 x 8 mm"),
        ({"qform_code": 1, "sform_code": 0, "qoffset_x": np.nan}, "its qform is not finite"),
        ({"qform_code": 1, "quatern_b": 3}, "its qform is no rotation"),
        ({"pixdim": [1, 1.5, 1.2, 8, np.nan, 1, 1, 1]}, "expected a time from frame to frame"),
        ({"datatype": 128}, r"found datatype 128 \(RGB\)"),
        ({"datatype": 32}, r"found datatype 32 \(complex64\)"),
        ({"datatype": 1536}, "found datatype 1536"),
        ({"datatype": 77}, r"found datatype 77 \(unknown\)"),
        ({"dim": [4, 30, 20, -3, 5, 1, 1, 1]}, "expected 2 to 7 axes"),
        ({"dim": [9, 30, 20, 3, 5, 1, 1, 1]}, "expected 2 to 7 axes"),
        ({"dim": [4, 32000, 32000, 32, 32, 1, 1, 1]}, "truncated: its header says 2097152000000 bytes of data, the"),
        ({"vox_offset": np.nan}, "expected its data at byte 348 or later, found them at nan"),
        ({"vox_offset": 0}, "expected its data at byte 348 or later, found them at 0"),
        ({"magic": b"no1"}, "no header of NIfTI"),
        ({"scl_slope": np.inf}, "its values are to be scaled by inf"),
    ],
)
def test_a_header_that_is_wrong(tmp_path, header, message):
    path = save(tmp_path / "a.nii", **header)
    with pytest.raises(InputError, match=rf"{path}: cannot be read as NIfTI: .*{message}"):
        read_nifti(path)


def test_memory_is_not_taken_on_a_header_s_word(tmp_path):
    """Of a gzipped file, nor more than it can reasonably hold."""
    path = save(tmp_path / "a.nii.gz", dim=[4, 30000, 20000, 3, 5, 1, 1, 1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="its header says 18000000000 bytes of data, too many for a file of"):
        read_nifti(path)
    bomb = gzip.decompress(save(path).read_bytes()) + bytes(50_000_000)
    path.write_bytes(gzip.compress(bomb))
    with pytest.raises(InputError, match="it holds more data than its header says"):
        read_nifti(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


# --- what is a cine ---


@pytest.mark.parametrize(
    ("shape", "zooms", "message"),
    [
        ((64, 64, 9), (1.5, 1.5, 8), r"a third axis of 8 mm: the slices of one time; .* save it as \(x, y, 1, time\)"),
        ((64, 64, 6, 1), (1.5, 1.5, 8, 1), r"found \(64, 64, 6\)"),
        ((64, 64), (1.5, 1.5), r"found \(64, 64\): one time"),
        ((20, 96, 96), (1, 1, 1), "are its axes in another order"),
        ((20, 9, 96, 96), (1, 1, 1, 1), "are its axes in another order"),
        ((64, 64, 20, 9), (1.5, 1.5, 0.04, 8), "is time third"),
    ],
)
def test_what_is_no_cine(tmp_path, shape, zooms, message):
    image = nib.Nifti1Image(np.ones(shape, np.int16), None)
    image.header.set_zooms(zooms)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match=rf"a\.nii: expected a cine \(x, y, time\) or .*{message}"):
        read_cine_stack(tmp_path / "a.nii")
    if len(shape) == 3:
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / "a.nii")


@pytest.mark.parametrize(("step", "warns"), [(0.04, False), (40, False), (1, True)])
def test_a_third_axis_that_may_be_time(tmp_path, caplog, step, warns):
    image = nib.Nifti1Image(CINE[:, :, 0], None)
    image.header.set_zooms((1.5, 1.2, step))
    nib.save(image, tmp_path / "a.nii")
    assert read_cine_stack(tmp_path / "a.nii").images.shape == (1, 5, 20, 30)
    assert ("its 5 images are taken as times of one slice" in caplog.text) == warns


# --- other files ---


@pytest.mark.parametrize("name", ["a.nrrd", "b.nrrd", "a.mha", "b.mha"])
def test_nrrd_and_metaimage_that_end_early(tmp_path, name):
    path = tmp_path / name
    image = sitk.GetImageFromArray(CINE[:, :, :1, 0].T)
    sitk.WriteImage(image, str(path), useCompression=name[0] == "b")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_slice(path)), CINE[:, :, :1, 0].T)
    content = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(InputError, match=rf"{path}: cannot be read as "):
            read_slice(path)
    for size in (b"30000 20000 1", b"30 21 1"):
        path.write_bytes(content.replace(b"30 20 1", size))
        with pytest.raises(InputError, match=rf"{path}: cannot be read as "):
            read_slice(path)


def test_a_mask_that_ends_early_or_leads_to_infinity(tmp_path):
    cine = read_cine_stack(save(tmp_path / "cine.nii"))
    mask = save(tmp_path / "mask.nii", (CINE[..., 0] > 500).astype(np.uint8))
    np.testing.assert_array_equal(read_masks(mask, cine)[:, 0], (CINE[..., 0] > 500).T)
    content = mask.read_bytes()
    for tenth in range(10):
        mask.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(InputError, match=rf"{mask}: cannot be read as NIfTI: "):
            read_masks(mask, cine)
    with pytest.raises(InputError, match="its sform is not finite"):
        read_masks(save(mask, (CINE[..., 0] > 500).astype(np.uint8), srow_x=[np.inf, 0, 0, 0]), cine)


@pytest.mark.parametrize("line", ["Name:{}", 'labels: "{}"', "{}"])
def test_a_line_on_which_itk_would_end_the_process(tmp_path, line):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8)), tmp_path / "a.nrrd")
    head, _, data = (tmp_path / "a.nrrd").read_bytes().partition(b"\n\n")
    (tmp_path / "a.nrrd").write_bytes(head + b"\n" + line.format("a" * 5000).encode() + b"\n\n" + data)
    with pytest.raises(
        InputError, match=r"a\.nrrd: cannot be read as NRRD: damaged: its header has a line of 50\d\d b"
    ):
        read_slice(tmp_path / "a.nrrd")
