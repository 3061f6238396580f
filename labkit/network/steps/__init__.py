"""The steps that connect a container, in the order in which a plan has them.

    forwarding    EnableForwarding            \\
    bridge        MakeBridge                   }  of a network: done once, what is there already is fine
    table         MakeTable                   /
    veth          VethPair                    \\
    address       Address, Route               }  of a container: undone when it ends
    publish       PublishPorts                /

They know as much as the steps of ``labkit.runtime`` (``apply``, ``undo``, ``shell``, ``why``), whose executor applies them.
"""
