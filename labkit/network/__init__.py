"""Networks of containers: a bridge, a cable to each container, addresses, and rules that translate them.

              the machine                                            a container
    ┌──────────────────────────────────────────────┐        ┌──────────────────────┐
    │ eth0 192.0.2.2 ─ routing, nft ─ labkit0 ──── port ════ eth0 172.17.0.2       │
    │                                 172.17.0.1   │  veth  │ default via 172.17.0.1│
    └──────────────────────────────────────────────┘        └──────────────────────┘

    pools.py       which subnets are free          subnet.py     a network as the kernel sees it: bridge, subnet, MTU
    leases.py      which addresses are taken       ports.py      what each form of -p means; ports that are held
    nat.py         the table of nftables           hosts.py      names of containers in /etc/hosts
    resolver.py    names by DNS, 127.0.0.11        beside.py     other firewalls on the same machine
    steps/         the steps of a plan: MakeBridge, VethPair, Address, Route, MakeTable, PublishPorts

The engine decides who is in which network; this package says how. Shown in notebook 07-networks-and-ports.
"""
