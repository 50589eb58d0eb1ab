"""Many methods, one contract: a network and data in, one result out. Pure computing, no drawing."""
