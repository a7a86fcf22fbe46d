"""`minimind pretrain` in one of torchrun's processes, of which one fails.

In its first life, process 1 ends without a word in the middle of a step; after a restart it does
not.
"""

import os
import sys

from minimind_wiki import cli
from minimind_wiki.train import pretrain
from minimind_wiki.train.loop import Loop
from minimind_wiki.train.parallel import restarted

FAIL_AT = 7


class Failing(Loop):
    def gradients(self, batch):
        if self.state.step == FAIL_AT and self.group.rank == 1 and not restarted():
            os._exit(3)
        return super().gradients(batch)


if __name__ == "__main__":
    pretrain.Loop = Failing
    cli.leave(cli.main(sys.argv[1:]))
