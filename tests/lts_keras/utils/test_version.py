import re

import lts_keras
from lts_keras.utils.version import code_version


def test_code_version_names_the_release_and_the_sources():
    assert re.fullmatch(rf"{re.escape(lts_keras.__version__)}\+[0-9a-f]{{12}}", code_version())
