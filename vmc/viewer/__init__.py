"""`vmc play`: a local web page on which a person drives, dreams and looks inside."""
