"""The faults that judge the doctor: none of its rules was written on them."""

from __future__ import annotations

from deepdrift.lab.diagnosis import judged_image_faults as IF
from deepdrift.lab.diagnosis import judged_weight_faults as WF
from deepdrift.lab.diagnosis.faults import SHARES, Fault

# fmt: off
JUDGED: dict[str, Fault] = {
    fault.name: fault
    for fault in [
        Fault("block_quantisation", "sensor", "images", IF.block_quantisation,
              (0, 0.1, 0.2, 0.4, 0.8, 1.6), "step", "sensor failure", "coarse JPEG-like blocks"),
        Fault("motion_blur", "sensor", "images", IF.motion_blur,
              (1, 3, 5, 7, 9, 11), "pixels", "sensor failure", "the camera moves sideways"),
        Fault("vignetting", "sensor", "images", IF.vignetting, SHARES, "light lost in the corners",
              "sensor failure", "dark corners"),
        Fault("gamma", "sensor", "images", IF.gamma,
              (1, 1.2, 1.5, 2, 3, 4), "exponent", "sensor failure", "another grey scale"),
        Fault("scan_line_offset", "sensor", "images", IF.scan_line_offset,
              (0, 1, 2, 3, 4, 6), "pixels", "sensor failure", "every second row moved"),
        Fault("hot_pixels", "sensor", "images", IF.hot_pixels,
              (0, 1, 2, 4, 8, 16), "clusters", "sensor failure", "clusters of white pixels"),
        Fault("stuck_bit", "sensor", "images", IF.stuck_bit,
              (1, 8, 16, 32, 64, 128), "value of the bit", "sensor failure", "a bit is always one"),
        Fault("interlaced", "sensor", "images", IF.interlaced, SHARES, "share of the odd rows",
              "sensor failure", "rows of the image before"),
        Fault("zoom_out", "data", "images", IF.zoom_out,
              (1, 0.9, 0.8, 0.7, 0.6, 0.5), "scale", "geometric collapse", "everything smaller"),
        Fault("translation", "data", "images", IF.translation,
              (0, 1, 2, 3, 5, 7), "pixels", "geometric collapse", "everything moved to the left"),
        Fault("shear", "data", "images", IF.shear,
              (0, 0.1, 0.2, 0.3, 0.5, 0.7), "factor", "geometric collapse", "everything slanted"),
        Fault("mirrored", "data", "images", IF.mirrored, SHARES, "share of the images",
              "geometric collapse", "left and right exchanged"),
        Fault("mixed_classes", "data", "images", IF.mixed_classes,
              (0, 0.1, 0.2, 0.3, 0.4, 0.5), "weight of the other", "novel class",
              "double exposures"),
        Fault("one_class", "data", "images", IF.one_class, SHARES, "share of the images",
              "stable", "far too many trousers"),
        Fault("other_set", "data", "images", IF.other_set, SHARES, "share of the images",
              "novel class", "handwritten digits"),
        Fault("stale_statistics", "weights", "block", WF.stale_statistics, SHARES,
              "share of the way", "broken layer", "normalisation as before training"),
        Fault("permuted_channels", "weights", "block", WF.permuted_channels, SHARES,
              "share of the channels", "broken layer", "channels in another order"),
        Fault("sign_flips", "weights", "block", WF.sign_flips,
              (0, 0.05, 0.1, 0.2, 0.4, 0.8), "share of the filters", "broken layer",
              "filters with the wrong sign"),
        Fault("silenced_heads", "weights", "block", WF.silenced_heads,
              (0, 0.25, 0.25, 0.5, 0.75, 1), "share of the heads", "dead or shrunken layer",
              "attention heads, or inner channels, that say nothing"),
        Fault("lost_shortcut", "weights", "block", WF.lost_shortcut, SHARES,
              "share of the shortcut", "broken layer", "the way around the block is cut"),
        Fault("stuck_bias", "weights", "block", WF.stuck_bias,
              (0, 0.5, 1, 2, 4, 8), "added", "broken layer", "a tenth of the channels too high"),
        Fault("swapped_layers", "weights", "block", WF.swapped_layers, SHARES,
              "share of the way", "broken layer", "two layers of a block exchanged"),
        Fault("gain_noise", "weights", "block", WF.gain_noise,
              (0, 0.3, 0.6, 1, 2, 4), "spread", "broken layer", "every weight out of tune"),
        Fault("pruned", "weights", "block", WF.pruned,
              (0, 0.3, 0.5, 0.7, 0.9, 0.99), "share of the weights", "broken layer",
              "the smallest weights set to zero"),
        Fault("output_bias", "weights", "network", WF.output_bias,
              (0, 1, 2, 4, 8, 16), "added", "broken layer", "one class favoured by the last layer"),
    ]
}
# fmt: on
"""Name -> :class:`Fault`."""
