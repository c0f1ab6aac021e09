"""Every kind of finding: what it is called, what it means, what to do about it, and which limit stops the pipeline."""

import dataclasses

__all__ = ["KINDS", "NOTES", "STOPS", "WARNS", "Kind", "sort_findings"]

STOPS, WARNS, NOTES = "stops", "warns", "notes"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        title: what was found, in a few words.
        meaning: what it says about the data.
        advice: what to do.
        limit: key of `data.check` that stops the pipeline, `""` for what always stops it, or `None`.
        level: `WARNS`, or `NOTES` for what is right as it is but good to know.
        one: what to say of one of them, where the reader gives the kind alone.
    """

    title: str
    meaning: str
    advice: str
    limit: str | None = None
    level: str = WARNS
    one: str = ""


KINDS = {
    "unreadable_photos": Kind(
        "Unreadable photos",
        "The photo is missing, cut, damaged or of a format that is not read. It is left out with all its objects.",
        "Mend or remove it; convert WebP, GIF and others to JPEG or PNG. A share of them is let pass by "
        "data.check.max_unreadable_photos.",
        "max_unreadable_photos",
    ),
    "size_mismatches": Kind(
        "Photos of another size than their annotations",
        "Masks and boxes were drawn on a photo of another size or turned otherwise, so they would lie beside their "
        "objects. The photo is left out with all its objects.",
        "Give the photos that were annotated, not resized copies. A share of them is let pass by "
        "data.check.max_size_mismatches.",
        "max_size_mismatches",
    ),
    "leaks": Kind(
        "Photos of train that are held out too",
        "The model would be tested on photos that it was trained on, and its scores would be too good.",
        "Say with data.check.on_leak what to do: `drop` leaves the train objects of these photos out, `report` keeps "
        "them (right where splits are meant to share photos).",
        "on_leak",
    ),
    "same_photos": Kind(
        "Photos that stand in a split several times",
        "The same bytes under another name or in another file make a record of their own. Such a photo counts more, "
        "and sentences that are made up for one file know nothing of the objects in the other.",
        "Nothing, where that is meant; else remove the copies, or join the files.",
    ),
    "duplicate_ref_ids": Kind(
        "Ref ids that stand twice in one data set",
        "Predictions are kept by ref id, so those of the two objects could not be told apart.",
        "Give every object a ref id of its own, or give the two files different names in data.sources.",
        "",
    ),
    "empty_masks": Kind(
        "Empty masks",
        "The expression has a target, but its mask has no pixel: an outline without area or outside the photo. The "
        "object is left out.",
        "Draw the mask anew, or say `no_target` where the photo has no such object. A share of them is let pass by "
        "data.check.max_empty_masks.",
        "max_empty_masks",
    ),
    "boxes_without_area": Kind(
        "Boxes without area",
        "Inside the photo the box is less than half a pixel wide or high. Alone it says nothing about where the object "
        "is, and the object is left out; beside a mask the box of the mask is taken instead.",
        "Draw the box anew. Boxes are x0, y0, x1, y1 in a manifest, and x, y, width, height in COCO's files.",
    ),
    "box_disagreements": Kind(
        "Masks that do not lie in their boxes",
        "Mask and box differ by more than 2 pixels and a twentieth of the side. One of them may belong to another "
        "object, or the box may be given as x, y, width, height where x0, y0, x1, y1 is read.",
        "Look at the pictures: the mask is tinted, the stated box drawn. A share of them is let pass by "
        "data.check.max_box_disagreements.",
        "max_box_disagreements",
    ),
    "boxes_outside": Kind(
        "Boxes that reach out of the photo",
        "The box lies outside the photo by more than a pixel; it is cut at the photo's edge.",
        "Nothing, where objects are cut off by the edge. Else the boxes may be those of a photo of another size, or "
        "turned otherwise.",
    ),
    "inverted_masks": Kind(
        "Masks that may be inside out",
        "What lies around the mask looks like the object: the mask may have ground and object exchanged.",
        "Look at the pictures, and exchange black and white in the mask's file where it is so.",
    ),
    "whole_photo_masks": Kind(
        "Masks that cover nearly the whole photo",
        "More than 95 % of the photo lie in the mask: often a mask whose ground is not black, or a photo in its place.",
        "Look at the pictures. Nothing, where the object does fill the photo.",
    ),
    "jpeg_masks": Kind(
        "Masks stored as JPEG",
        "JPEG blurs edges, so the mask was cut at half brightness. It may be a pixel off everywhere.",
        "Export masks as PNG.",
        one="its mask is a JPEG, cut at half",
    ),
    "soft_masks": Kind(
        "Masks with soft edges",
        "The mask has shades of grey between ground and object, and was cut at half brightness.",
        "Nothing, where that is meant; else export masks of two values.",
        one="its mask has soft edges, cut at half",
    ),
    "unknown_classes": Kind(
        "Objects of a class that is not listed",
        "The annotation has a class id that the file does not name. The object has no class in the statistics, and no "
        "sentence can be made up for it.",
        "List the class under `categories`.",
        one="its class is not listed",
    ),
    "stored_photos": Kind(
        "Photos that ask to be turned, and are not",
        "The photo has an EXIF orientation that is not applied, because the annotations of its source are said or "
        "known to lie in the stored pixels, as COCO's do. Phones, browsers and most labelling tools show it turned.",
        "Look at the pictures: masks that lie beside their objects mean that the annotations were drawn upright; then "
        "say `orientation: upright` in the source.",
        one="its EXIF orientation is not applied",
    ),
    "frame_by_size": Kind(
        "Photos whose size decided how they are turned",
        "The size in the annotations fits only one of the stored and the upright photo, and that one was taken, though "
        "it is not the one that is taken without a size.",
        "Look at the pictures, and say `orientation` (upright or stored) in the source: square photos fit both ways, "
        "and are not read as these.",
        one="the size in the annotations decided how it is turned",
    ),
    "turned_photos": Kind(
        "Photos turned upright",
        "The EXIF orientation of the photo was applied, in training, evaluation, prediction and serving alike.",
        "Nothing, where masks and boxes lie on their objects in the pictures. Else say `orientation: stored` in the "
        "source.",
        level=NOTES,
        one="turned by its EXIF orientation",
    ),
    "empty_expressions": Kind(
        "Blank sentences",
        "The sentence has no word that the model could read. It is left out, and so is its object if it has no other.",
        "Write a sentence, or remove the empty one.",
    ),
    "too_long_expressions": Kind(
        "Sentences that are cut",
        "The sentence has more words than model.max_tokens; the words beyond are not read.",
        "Raise model.max_tokens, or shorten the sentence.",
    ),
    "unknown_words": Kind(
        "Words of a held-out split that train does not have",
        "The model reads these words as `unknown`, so it will answer as if they were not there.",
        "Train on sentences of the same kind. data.check.max_unknown_words is the share that is let pass.",
        "max_unknown_words",
    ),
    "ambiguous_expressions": Kind(
        "One sentence for two objects of a photo",
        "Read as the model reads it, the sentence points at two objects at once; the loss pulls both ways.",
        "Write sentences that fit one object alone.",
    ),
    "duplicate_expressions": Kind(
        "Sentences that stand twice for one object",
        "Read as the model reads it, an object has the same sentence more than once, which makes it count more.",
        "Nothing, or remove the copies.",
        level=NOTES,
    ),
    "published_counts": Kind(
        "Counts that are not the published ones",
        "The data set has other numbers of refs or expressions than its paper or its repository gives: a part is "
        "missing, or it is another version of it.",
        "Load the files anew, and compare. It stops only with data.check.published_counts.",
        "published_counts",
    ),
    "left_out": Kind(
        "Objects that are left out",
        "These referred objects do not reach the records; the table below says why, with the first of each reason.",
        "Mend what the table names. data.check.max_left_out is the share that is let pass; what is left out as meant "
        "does not count against it.",
        "max_left_out",
    ),
    "unaccounted": Kind(
        "Objects that no reason accounts for",
        "Objects that were read are neither in the records nor left out for a reason. This is a fault of the program "
        "and not of the data.",
        "Report it with the configuration; the data may lack objects.",
    ),
}
"""Every kind, in the order of the page."""

_LEVELS = (STOPS, WARNS, NOTES)


def sort_findings(findings):
    """Findings that stop first, those that are only told last; else in the order of `KINDS`."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda finding: (_LEVELS.index(finding["level"]), order[finding["kind"]]))
