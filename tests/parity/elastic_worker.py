"""`minimind pretrain` in one of torchrun's processes, which may be made to fail.

The first argument says how, the others are the command line. In its first life, process 1 ends
without a word in the middle of step FAIL_AT; after a restart it does not.
"""

import os
import sys
from pathlib import Path

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
    Path(sys.argv[1], f"life-{os.environ['RANK']}").write_text(str(restarted()))
    sys.exit(cli.main(sys.argv[2:]))
