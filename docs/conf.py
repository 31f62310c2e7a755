"""How Sphinx builds the site. Warnings count as errors; see make site."""

import sys
from pathlib import Path

import mlkit

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Machine learning for official statistics"
author = "The mlkit authors"
copyright = f"{author}. Lessons: CC BY 4.0. Code: MIT"
version = release = mlkit.__version__
language = "en"  # with "en_GB" the search of Sphinx 9.0 fails: its catalogue lacks plurals

extensions = [
    "lesson_pages",  # ours, in _ext: it brings the lessons into this folder
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

# Pages -----------------------------------------------------------------------------------

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3  # links such as glossary.md#weight lead to headings

# The notebooks hold their outputs already, and nbval has compared them.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # so that a computed sentence may hold a formula
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
# Checks and results carry a form for programs beside their text. An output that has no form
# for people still warns.
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say the types in words
numpydoc_show_class_members = False

# Look ------------------------------------------------------------------------------------

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False  # every lesson links to its notebook and to its master
html_use_index = False  # nothing links to it; the search finds more
html_domain_indices = False
# For summaries the search would load pages, which a browser refuses for files on a disk.
html_show_search_summary = False
html_theme_options = {
    "toc_title": "On this page",
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the side bar has a search field already
    "footer_content_items": ["copyright"],
}
html_context = {"default_mode": "auto"}  # dark where the reader's system is dark

# The site must work without a network, so MathJax is one file beside it.
mathjax_path = "mathjax/tex-svg.js"
# Its menu would load more files, which are not there.
mathjax3_config = {"options": {"enableMenu": False}}
