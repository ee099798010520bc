"""How the book renders what a notebook's cells show: alt text, captions, data, maker.

MyST-NB 1.4 drops all that a cell's output says about itself but width and height. This
renderer takes the words from the output's metadata, where qstudy.report.figures and
qstudy.report.tables put them. Chosen in _config.yml with `nb_render_plugin: qstudy`.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer

from qstudy.report import origins


class AltTextRenderer(NbElementRenderer):
    """The default renderer, and the words that belong to a figure or a table."""

    def render_image(self, data: MimeData) -> list[nodes.Element]:
        """An image with its alt text; with a caption it becomes a labelled figure."""
        images = super().render_image(data)
        told = data.output_metadata.get(data.mime_type, {})
        for image in images:
            if told.get("alt"):
                image["alt"] = told["alt"]
                # Our figures have a light ground of their own: the theme's class for
                # pictures that dark pages leave as they are.
                image["classes"].append("dark-light")
        if not told.get("caption"):
            return images
        figure = nodes.figure("", *images)
        figure += nodes.caption("", "", *self._inline(told["caption"], data))
        figure += nodes.legend("", self._source("Data of the figure", told, data))
        self._label(figure, told, data)
        return [figure]

    def render_markdown(self, data: MimeData) -> list[nodes.Element]:
        """Markdown as MyST; with a caption it becomes a labelled table or figure.

        A figure where it holds no table: what stands in the place of one.
        """
        children = super().render_markdown(data)
        told = data.output_metadata.get(data.mime_type, {})
        if not told.get("caption"):
            return children
        # A notebook viewer shows the caption as a paragraph; the page has a better way.
        words = self._inline(told["caption"], data)
        tables = [node for node in children if isinstance(node, nodes.table)]
        if not tables:
            figure = nodes.figure("", *children, nodes.caption("", "", *words))
            self._label(figure, told, data)
            return [figure]
        (table,) = tables
        table.insert(0, nodes.title("", "", *words))
        self._label(table, told, data)
        if "csv" not in told:
            return [table]
        return [table, self._source("All columns", told, data)]

    def _inline(self, text: str, data: MimeData) -> list[nodes.Node]:
        parsed = nodes.Element()
        with self.renderer.current_node_context(parsed):
            self.renderer.nested_render_text(text, data.line or 0, inline=True)
        return parsed.children

    def _source(self, what: str, told: dict, data: MimeData) -> nodes.paragraph:
        told_by = f"{what}: {{csv}}`{told['csv']}`"
        file = PurePosixPath(told["csv"])
        figure = file.parent.name == "figures"
        module = origins.module_of(file.stem if figure else file.name)
        if module:
            short = module.removeprefix("qstudy.experiments.")
            told_by += f", made by {{py:mod}}`{short} <{module}>`"
        content = self._inline(told_by, data)
        return nodes.paragraph("", "", *content, classes=["csv-link"])

    def _label(self, node: nodes.Element, told: dict, data: MimeData) -> None:
        node.source, node.line = self.source, data.line
        node["names"].append(nodes.fully_normalize_name(told["name"]))
        self.renderer.document.note_explicit_target(node, node)
