"""Names of the 90 COCO category ids, in order; `???` for the ten ids that COCO 2017 never uses.

Line i (from 0) is the name of category id i + 1, so the class index of the detector is the line.
"""

LABELS = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light "
    "fire_hydrant ??? stop_sign parking_meter bench bird cat dog horse sheep "
    "cow elephant bear zebra giraffe ??? backpack umbrella ??? ??? "
    "handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove "
    "skateboard surfboard tennis_racket bottle ??? wine_glass cup fork knife spoon "
    "bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut "
    "cake chair couch potted_plant bed ??? dining_table ??? ??? toilet "
    "??? tv laptop mouse remote keyboard cell_phone microwave oven toaster "
    "sink refrigerator ??? book clock vase scissors teddy_bear hair_drier toothbrush"
)


def labels_text() -> str:
    """The 90 lines of labels.txt."""
    return "".join(f"{name.replace('_', ' ')}\n" for name in LABELS.split())
