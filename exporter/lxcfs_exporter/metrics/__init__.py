"""What is told of containers, subject by subject: tables of metrics over what `scene` holds, without I/O.

Names, units and labels are those that cAdvisor made the ecosystem's (its docs/storage/prometheus.md), so that
dashboards and alerts for it work. The deliberate differences: what the kernel does not say, and a limit that is not
there, has no sample instead of a 0; limits are effective, the least over the cgroup and its ancestors; `cpu` is always
"total" (a `sum` is right on v1 and v2), CPUs apart have a family of their own; samples have no time stamps, since they
are as old as the scrape. Names of our own: pressure of interrupts, all memory events, TCP, views, throttled ratio.
"""
