"""Generated machines for laws: what one is (`worlds`), its files (`cgroups`, `hosts`), and reading them (`reading`)."""
