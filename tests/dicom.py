"""What tests of DICOM files share."""

import io
import shutil
import subprocess

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import config, uid
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.coding import Code

SYNTAXES = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg": uid.JPEGBaseline8Bit,
    "jpeg2000": uid.JPEG2000Lossless,
}


def mr_image(pixels, syntax="explicit", **tags):
    """An MR image of small made pixels (H, W), or (T, H, W), of 8 or 16 bits, encoded as SYNTAXES has it."""
    encoded = SYNTAXES[syntax]
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    meta.ImplementationClassUID = uid.PYDICOM_IMPLEMENTATION_UID
    meta.TransferSyntaxUID = encoded
    new = FileDataset(
        "",
        {},
        file_meta=meta,
        preamble=bytes(128),
        is_implicit_VR=encoded.is_implicit_VR,
        is_little_endian=encoded.is_little_endian,
    )
    new.SOPClassUID, new.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    new.StudyInstanceUID, new.SeriesInstanceUID, new.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    new.Modality, new.SeriesNumber, new.InstanceNumber, new.TriggerTime = "MR", 1, 1, 0
    new.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    new.ImageOrientationPatient, new.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-48, -48, 0]
    new.PixelSpacing, new.SliceThickness = [1.5, 1.25], 8
    new.Rows, new.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        new.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    new.SamplesPerPixel, new.PhotometricInterpretation = 1, "MONOCHROME2"
    new.BitsAllocated, new.BitsStored, new.HighBit = bits, bits, bits - 1
    new.PixelRepresentation = int(pixels.dtype.kind == "i")
    new.PixelData = _encode(pixels, encoded)
    new["PixelData"].VR = "OW" if bits == 16 else "OB"
    new["PixelData"].is_undefined_length = encoded.is_compressed
    for name, value in tags.items():
        if value is None:
            delattr(new, name)
        else:
            setattr(new, name, value)
    return new


def _encode(pixels, syntax):
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    if not syntax.is_compressed:
        order = "<" if syntax.is_little_endian else ">"
        content = frames.astype(frames.dtype.newbyteorder(order)).tobytes()
        return content + bytes(len(content) % 2)
    if syntax == uid.RLELossless:
        return encapsulate([_rle(frame) for frame in frames])
    streams = [io.BytesIO() for _ in frames]
    for frame, stream in zip(frames, streams, strict=True):
        if syntax == uid.JPEGBaseline8Bit:
            Image.fromarray(frame).save(stream, "JPEG", quality=95)
        else:
            Image.fromarray(frame).save(stream, "JPEG2000", no_jp2=True)
    return encapsulate([stream.getvalue() + bytes(len(stream.getvalue()) % 2) for stream in streams])


def _rle(frame):
    """A frame in the RLE of PS3.5 annex G: a segment for each byte of a pixel, rows of their own, nothing repeated."""
    segments = []
    for byte in range(frame.dtype.itemsize)[::-1]:
        rows = (frame >> (8 * byte)).astype(np.uint8)
        segment = b"".join(bytes([len(row) - 1]) + row.tobytes() for row in rows)
        segments.append(segment + bytes(len(segment) % 2))
    starts = 64 + np.cumsum([0, *map(len, segments[:-1])])
    header = np.zeros(16, "<u4")
    header[0], header[1 : 1 + len(segments)] = len(segments), starts
    return header.tobytes() + b"".join(segments)


def group(**sequences):
    """Functional groups of one item each."""
    item = pydicom.Dataset()
    for name, values in sequences.items():
        part = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(part, keyword, value)
        setattr(item, name, [part])
    return item


def enhanced_image(pixels, items):
    """An enhanced MR image (T, H, W) of slices of 8 mm, with the functional groups of each frame."""
    dataset = mr_image(pixels)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.EnhancedMRImageStorage
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "TriggerTime"):
        delattr(dataset, name)
    dataset.SharedFunctionalGroupsSequence = [
        group(
            PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            PixelMeasuresSequence={"PixelSpacing": [1.5, 1.25], "SliceThickness": 8},
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = items
    return dataset


def write_enhanced(path, pixels, order, timed=True):
    """An enhanced MR image of all frames of a cine (S, T, H, W), in an order of slices and times: phase images beside
    magnitude, each with a scale of its own."""
    items = [
        group(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 8 * s]},
            FrameContentSequence={"TemporalPositionIndex": t + 1 if timed else 1},
            PixelValueTransformationSequence={"RescaleSlope": 1 + s, "RescaleIntercept": -t},
            MRImageFrameTypeSequence={"ComplexImageComponent": component},
            **({"CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 25 * t}} if timed else {}),
        )
        for s, t in order
        for component in ("MAGNITUDE", "PHASE")
    ]
    enhanced_image(np.stack([pixels[s, t] for s, t in order for _ in "MP"]), items).save_as(path)
    return path


def write_segmentation_by_highdicom(path, images, pixels, kind="BINARY", names=("LV",)):
    """A DICOM Segmentation of some of a cine's files as another program writes it, its segments called by the names."""
    heart = (Code("91723000", "SCT", "Anatomical Structure"), Code("87878005", "SCT", "Left ventricle"))
    highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(image) for image in images],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(number, name, *heart, "MANUAL") for number, name in enumerate(names, 1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="another",
        manufacturer_model_name="program",
        software_versions="1",
        device_serial_number="none",
    ).save_as(path)
    return path


def write_structure_set_by_hand(path, regions, frame_of_reference="1.2.3.5"):
    """A DICOM RT Structure Set as another program writes it: by ROI's name its contours, each of a kind, points (N, 3)
    in mm and a file that it refers to, or None."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = uid.RTStructureSetStorage, uid.generate_uid()
    meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    new = FileDataset("", {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=True, is_little_endian=True)
    new.SOPClassUID, new.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    new.Modality = "RTSTRUCT"
    for name in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        setattr(new, name, [])
    for number, (name, contours) in enumerate(regions.items(), 1):
        region, drawn, observation = (pydicom.Dataset() for _ in range(3))
        region.ROINumber = drawn.ReferencedROINumber = observation.ReferencedROINumber = number
        region.ROIName, region.ReferencedFrameOfReferenceUID = name, frame_of_reference
        observation.ObservationNumber = number
        drawn.ContourSequence = []
        for kind, points, file in contours:
            item = pydicom.Dataset()
            if file is not None:
                header = pydicom.dcmread(file, stop_before_pixels=True)
                item.ContourImageSequence = [pydicom.Dataset()]
                item.ContourImageSequence[0].ReferencedSOPClassUID = header.SOPClassUID
                item.ContourImageSequence[0].ReferencedSOPInstanceUID = header.SOPInstanceUID
            item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
            item.ContourData = [f"{value:.4f}" for value in np.ravel(points)]
            drawn.ContourSequence.append(item)
        new.StructureSetROISequence.append(region)
        new.ROIContourSequence.append(drawn)
        new.RTROIObservationsSequence.append(observation)
    new.save_as(path)
    return path


def edit(source, target, **changes):
    """A copy of a DICOM file with elements changed, or removed where None."""
    with config.disable_value_validation():
        dataset = pydicom.dcmread(source)
        for keyword, value in changes.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(target)
    return target


def unmarked(content):
    """A DICOM file's content from its data set on, as files were before the standard had a format for them: without
    preamble, its mark and the file meta information."""
    file = io.BytesIO(content)
    file.seek(132)
    pydicom.filereader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    return content[file.tell() :]


def validator_errors(path):
    """What David Clunie's dciodvfy finds wrong."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy on this machine (Debian: apt install dicom3tools)")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(
        line.startswith(("MRImage", "DeformableSpatialRegistration", "Segmentation", "RTStructureSet"))
        for line in lines
    )
    return [line for line in lines if line.startswith("Error")]
