#!/usr/bin/env bash
# Colab, or any Linux machine with Python 3.11 or newer: the pinned packages in an
# environment of their own, then one chapter, executed. Give its name and what papermill
# is to set; without parameters it reads the published results and computes nothing.
#
#   bash binder/colab.sh static -p mode quick
#
# Untested on Colab itself: none was at hand.
set -euo pipefail
cd "$(dirname "$0")/.."
chapter=${1:?name a chapter: $(cd chapters && ls ./*.ipynb | sed 's|./||; s|.ipynb||' | tr '\n' ' ')}
shift
[ -e "chapters/$chapter.ipynb" ] || {
    echo "qstudy: no chapter $chapter; there are:" chapters/*.ipynb >&2
    exit 1
}
make install TORCH_INDEX="${TORCH_INDEX-https://download.pytorch.org/whl/cpu}"
.venv/bin/papermill "chapters/$chapter.ipynb" "$chapter-executed.ipynb" "$@"
echo "the executed chapter is $chapter-executed.ipynb"
