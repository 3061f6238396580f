"""The lab in which Linux containers are learnt by building them."""
