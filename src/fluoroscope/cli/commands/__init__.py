"""The commands, one file each: ``command`` reads its options, calls the library and shows the answer."""
