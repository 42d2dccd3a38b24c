"""What each number of a virtual file is: one pure `explain(snapshot, host_text, text) -> Explained` for each view.

`text` is what the view rendered of the same snapshot and the host's text: values are taken from it as printed, and
each is given the formula that it must follow. Modules are called as those of `lxcfs_py.views`.
"""
