"""What is said beside the tables and figures of Table 1."""

DATA = (
    "Left-ventricular lumen, end-diastole to end-systole and back, mean ± standard deviation over the registrations. "
    "De Vos et al. (2017, arXiv:1704.06065, Table 1) scored the myocardium, drawn by their own expert at both phases,"
    " on whole cines of all 45 patients of the Sunnybrook data; that drawing was not published, so that their numbers"
    " and these cannot be set side by side. What can be compared is the finding: in the paper the networks did about "
    "as well as elastix, C1 best, B1 worst, C2 below BL, each far faster than elastix."
)

TABLE = (
    "HD95 larger: the larger of the two directed 95th percentiles of surface distance; pooled: the 95th percentile of"
    " both directions' distances; MAD: mean of all surface distances of both. Millimetres are by each image's pixel "
    "spacing, or by an assumed 1.28 mm where it has none. Folded: pixels whose Jacobian determinant (forward "
    "differences) is not positive. Time: median of one registration, from two images to the warped one, without "
    "files. For elastix that is without its displacement field, which a network gives on the way."
)

TESTS = (
    "Wilcoxon's signed-rank test, two-sided; differences are means of the method minus the reference. Over the "
    "registrations, as in the paper, although those of one patient are not independent; and over the means of the "
    "patients, which are."
)

CURVES = (
    "Validation loss (minus the normalised cross-correlation, plus the weighted penalty on folds) over the training, "
    "as in the paper's Fig. 3. One learning-rate schedule for all, which ends at zero at the last iteration."
)

COMPARISON = (
    "Of each pathology group the registration of median Dice by the best network (of fewer than four groups, the worst"
    " and the best of all too): fixed and moving frame, the moving frame warped "
    "by each method, and the absolute differences to the fixed frame, as in the paper's Fig. 4. Yellow: lumen drawn "
    "on the fixed frame; blue: lumen drawn on the moving frame, warped with it."
)

BOXES = "Dice by method. Box: quartiles; whiskers: 5th and 95th percentile; points: registrations beyond."

MOTION = "Dice against the size of the motion. Points: registrations; lines: means of groups of equal number."
