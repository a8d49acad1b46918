"""AP by the rules of COCO: which detection matches which object, and tables of the matches."""
