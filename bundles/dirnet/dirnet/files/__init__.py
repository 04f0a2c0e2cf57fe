"""Images and results on disk: NIfTI, ITK, DICOM, tables and pictures. No network in here."""
