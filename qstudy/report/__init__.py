"""Results to tables, figures and quoted numbers of the book; imports no torch.

`tables`, `figures`, `numbers` and `style` are plain modules. `sphinx_ext` and `render`
bring them onto the pages, `lint` keeps measured numbers out of prose.
"""
