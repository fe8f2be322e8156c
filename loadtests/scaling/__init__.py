"""Whether more of us do more: verifiers of one and two workers, and one to four of them behind a gateway.

Machines with a core for every worker and another for the load are rare, so the figure is not the rate alone but
the **answers for each second of a core** that the verifiers worked: it falls where they get in each other's way.
"""
