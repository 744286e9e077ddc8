// The classes of pictures that lie in folders: of each the folder that it lies in, where there are at least two of these.

const folderOf = (name) => name.split("/").slice(0, -1).at(-1) ?? "";

// `{names, of}`: the classes in order, and the number of each picture's; no classes where the folders tell none apart. `names`
// are the files with their folders.
export function foldersAsClasses(names) {
  const folders = names.map(folderOf);
  const found = [...new Set(folders)].sort((a, b) => (a < b ? -1 : 1));
  // As many classes as pictures tell nothing, and files that lie beside the folders are of no class.
  if (found.length < 2 || found.includes("") || found.length > names.length / 2) return { names: [], of: [] };
  return { names: found, of: folders.map((folder) => found.indexOf(folder)) };
}
