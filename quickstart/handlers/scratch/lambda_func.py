"""Uses the two places that a lambda may write to; both are its own and vanish with its sandbox."""

import os
import tempfile


def handler(event):
    with open("/host/visits", "a") as file:
        file.write("called with %r\n" % (event,))
    with open("/host/visits") as file:
        visits = len(file.readlines())
    with tempfile.NamedTemporaryFile() as file:  # below /tmp
        file.write(b"x" * 1000)
        file.flush()
        size = os.path.getsize(file.name)
    print("visit number", visits)  # see it with: ol logs scratch
    return {"visits_of_this_instance": visits, "temporary_file_bytes": size}
